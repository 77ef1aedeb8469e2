"""``mgrctl support-bundle``: what others need to help, in one file, without secrets."""

from __future__ import annotations

import asyncio
import io
import json
import platform
import re
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from mgr.cli import output
from mgr.cli.doctor.checks import findings_of
from mgr.cli.invocation import Invocation
from mgr.cli.local import Front
from mgr.clock import utc_now
from mgr.errors import InvalidArgumentError, MgrError
from mgr.secret_names import MASK, is_secret_name
from mgr.version import installed_version

FILE_BYTES_MAX: Final = 4 << 20
"""Longest part of an answer that is kept; the index says which answers were cut off."""
TOTAL_BYTES_MAX: Final = 48 << 20
COMMANDS: Final = (
    "status",
    "health detail",
    "mgr dump",
    "mgr metadata",
    "mgr versions",
    "mgr compare",
    "mgr module ls",
    "mgr services",
    "mgr history 200",
    "etcd status",
    "secrets status",
    "command ls",
    "config dump",
    "config log 50",
    "config ls --all",
    "map ls",
    "daemon ls",
    "node ls",
    "service dump",
    "log last 1000",
    "audit ls 1000",
    "crash ls",
    "auth role ls",
    "get_command_descriptions",
)
"""Commands whose answers are in it. None shows values of the key/value store, maps or tokens."""
PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*-----", re.DOTALL)
_SECRET: Final = r"[\w./-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key)"  # noqa: S105 - a pattern
_QUOTE: Final = r"\\*[\"']"
_VALUE: Final = rf"(?!\*)(?:(?P<quote>{_QUOTE})(?:(?!(?P=quote)).)*(?:(?P=quote))?|\S+)"
ASSIGNED: Final = re.compile(
    rf"(?is)(?<![\w./-])({_SECRET}(?:{_QUOTE})?\s*[=:]\s*|--{_SECRET}(?:{_QUOTE}\s*,)?\s+){_VALUE}"
)
"""``password=x``, ``token: x``, ``--token x``, and the same quoted, as in JSON or a list of
arguments, in free text such as a line of a log."""
BEARER: Final = re.compile(
    rf"(?i)\b(bearer\s+|authorization(?:{_QUOTE})?\s*[=:]\s*(?:{_QUOTE})?\w+\s+)[\w.~+/=-]{{8,}}"
)
OUR_TOKEN: Final = re.compile(r"\b[0-9a-f]{12,16}\.[\w-]{43}(?:\.[0-9a-f]{16,64})?\b")
"""A token for a person, or a join token, wherever it stands."""
URL_PASSWORD: Final = re.compile(r"(://[^/\s:@]*:)[^/\s]+@")
NAME_FIELDS: Final = ("name", "key", "option")
VALUE_FIELDS: Final = frozenset(
    {"value", "previous_value", "new_value", "default", "default_value"}
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.pass_obj
def command(front: Front, file: Path | None, *, force: bool) -> int:
    """Write what others need to help you into one file (default: mgr-support-TIME.tar.gz).

    It has states, options, history, logs, audit, and what 'mgrctl doctor' finds; at most 48 MiB
    before compression. Secrets are masked, names and addresses are not: look at it before you send
    it. Only its owner can read it.
    """
    path = file or Path(f"mgr-support-{utc_now():%Y%m%dT%H%M%SZ}.tar.gz")
    if path.exists() and not force:
        raise InvalidArgumentError(f"{path} exists already: --force replaces it")
    bundle = asyncio.run(collect(front.invocation_of(("support-bundle",))))
    bundle.write(path)
    front.remark(f"{path}: {len(bundle.files)} files; look at it before you send it")
    answered = bundle.answered
    return 0 if answered else output.NOTHING_RAN


class Bundle:
    """The files of a bundle, masked and cut to their limits as they are added."""

    def __init__(self) -> None:
        """Begin empty."""
        self.files: dict[str, bytes] = {}
        self.answered = False
        self._index: list[dict[str, Any]] = []
        self._total = 0

    def add(self, name: str, document: Any) -> None:
        """Add a document as JSON."""
        self._add(f"{name}.json", json.dumps(masked(document), indent=1))

    def fail(self, name: str, why: str) -> None:
        """Record that something is missing."""
        self._index.append({"file": name, "missing": masked(why)})

    def _add(self, name: str, text: str) -> None:
        data = text.encode(errors="replace")
        kept = data[: min(FILE_BYTES_MAX, max(0, TOTAL_BYTES_MAX - self._total))]
        self._total += len(kept)
        self.files[name] = kept
        self._index.append({"file": name, "bytes": len(data), "kept": len(kept)})

    def write(self, path: Path) -> None:
        """Write the bundle, readable by its owner only.

        Raises:
            InvalidArgumentError: It cannot be written.

        """
        about = {
            "made_at": utc_now().isoformat(),
            "mgrctl": installed_version(),
            "python": platform.python_version(),
            "machine": platform.platform(),
            "files": self._index,
        }
        files = {"index.json": json.dumps(about, indent=1).encode(), **self.files}
        folder = path.name.removesuffix(".gz").removesuffix(".tar")
        try:
            with tempfile.NamedTemporaryFile(
                dir=path.absolute().parent, prefix=f".{path.name}.", delete=False
            ) as draft:
                _write_tar(draft, folder, files)
            Path(draft.name).replace(path)
        except OSError as error:
            raise InvalidArgumentError(f"cannot write {path}: {error.strerror}") from None


async def collect(invocation: Invocation) -> Bundle:
    """Ask all managers and the active; a question without an answer is listed as missing."""
    from mgr.cli.doctor.gather import gather  # noqa: PLC0415 - imports grpc
    from mgr.client.async_client import AsyncClient  # noqa: PLC0415 - as above

    bundle = Bundle()
    facts = await gather(invocation)
    bundle.answered = bool(facts.answered)
    bundle.add("doctor", [asdict(each) for each in findings_of(facts)])
    states = {
        address: found if isinstance(found, str) else _plain(asdict(found[-1]))
        for address, found in facts.samples.items()
    }
    bundle.add("managers", states)
    bundle.add("certificates", [_plain(asdict(each)) for each in facts.certificates])
    if not bundle.answered:
        return bundle
    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        for words in COMMANDS:
            name = words.replace(" ", "-").replace("--", "")
            try:
                answer = await client.execute(words.split(), {"format": "json"}, changes=False)
            except MgrError as error:
                bundle.fail(name, str(error))
                continue
            if answer.retval < 0:
                bundle.fail(name, answer.stderr)
                continue
            try:
                bundle.add(name, json.loads(answer.stdout or b"null"))
            except ValueError:
                bundle.add(name, answer.text)
    return bundle


def masked(document: Any, *, secret: bool = False) -> Any:
    """Return ``document`` with what looks like a secret replaced. The managers mask as well."""
    if isinstance(document, dict):
        named = any(is_secret_name(str(document.get(field, ""))) for field in NAME_FIELDS)
        return {
            key: masked(
                value,
                secret=secret or is_secret_name(str(key)) or (named and key in VALUE_FIELDS),
            )
            for key, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [masked(each, secret=secret) for each in document]
    if isinstance(document, str):
        return (MASK if document else document) if secret else _masked_text(document)
    return MASK if secret and document is not None and not isinstance(document, bool) else document


def _masked_text(text: str) -> str:
    text = PEM.sub(MASK, text)
    text = URL_PASSWORD.sub(rf"\1{MASK}@", text)
    text = OUR_TOKEN.sub(MASK, text)
    text = BEARER.sub(rf"\1{MASK}", text)
    return ASSIGNED.sub(rf"\1{MASK}", text)


def _plain(document: Any) -> Any:
    """Return ``document`` with times as text, for JSON."""
    return json.loads(json.dumps(document, default=str))


def _write_tar(file: Any, folder: str, files: dict[str, bytes]) -> None:
    at = int(utc_now().timestamp())
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), at, 0o600
            archive.addfile(entry, io.BytesIO(data))
