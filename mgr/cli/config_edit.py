"""``mgrctl config edit``: the options in an editor, and what was changed in one transaction."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import yaml

from mgr.cli import output
from mgr.cli.invocation import Invocation
from mgr.cli.local import Front
from mgr.errors import InvalidArgumentError, why
from mgr.secret_names import MASK

HEAD: Final = """\
# Options of the cluster, by section. A line that is changed or added is set, one that is removed
# is removed, all in one transaction and one version ('mgrctl config reset' undoes it). Secrets are
# shown as ********: leave them so, or write a new value.
"""

Options = dict[str, dict[str, str]]
"""Values by section, then by name."""


@dataclass(frozen=True, slots=True)
class Change:
    """The options to set and to remove, to turn one state of the options into another."""

    set: list[tuple[str, str, str]] = field(default_factory=list)
    rm: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the change for people."""
        return [
            *(f"- {section} {name}" for section, name in self.rm),
            *(f"+ {section} {name} = {value}" for section, name, value in self.set),
        ]


@click.command()
@click.argument("who", required=False)
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path),
    help="Take the edited text from this file and open no editor.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would change, say what is wrong with it, and change nothing.",
)
@click.pass_obj
def command(front: Front, who: str | None, file: Path | None, *, dry_run: bool) -> int:
    """Edit the options, all or those of section WHO, in $VISUAL, $EDITOR or vi.

    Nothing is changed if one value is wrong, or if somebody else changed options meanwhile.
    """
    invocation = front.invocation_of(("config", "edit"))
    version, before = asyncio.run(_fetch(invocation))
    if who is not None:
        before = {who: before.get(who, {})}
    edited = _read(file) if file else edit(HEAD + to_text(before))
    try:
        change = difference(before, from_text(edited, only=who))
    except InvalidArgumentError as error:
        if file:
            raise
        raise InvalidArgumentError(f"{error}; your text is in {_keep(edited.encode())}") from None
    if not change.set and not change.rm:
        front.remark("nothing changed")
        return 0
    for line in change.lines():
        front.remark(line)
    words = ("config", "check" if dry_run else "apply")
    return asyncio.run(_send(invocation, words, version, change, "" if file else edited))


def to_text(options: Mapping[str, Mapping[str, str]]) -> str:
    """Return the options as YAML."""
    known = {section: dict(values) for section, values in sorted(options.items())}
    return yaml.safe_dump(known, allow_unicode=True, default_flow_style=False) if known else ""


def from_text(text: str, *, only: str | None = None) -> Options:
    """Return the options in ``text``; every value is a text, whatever it looks like.

    ``only``: the one section that may be in it; None: any.

    Raises:
        InvalidArgumentError: It is not such a text; the message names the line.

    """
    try:
        # Nothing but texts: ``yes`` is no truth value, and 010 no number.
        found = yaml.load(text, Loader=_Loader)  # noqa: S506 - it makes texts only
    except yaml.YAMLError as error:
        raise InvalidArgumentError(" ".join(str(error).split())) from None
    except RecursionError:
        raise InvalidArgumentError("the text: write names and values, 'name: value'") from None
    options: Options = {}
    for section, values in _mapping(found or {}, "the text").items():
        if only not in {None, section}:
            raise InvalidArgumentError(f"only section {only} is edited, not {section}")
        options[section] = {}
        for name, value in _mapping(values or {}, section).items():
            if not isinstance(value, str):
                raise InvalidArgumentError(f"{section}: {name}: a value is a text")
            options[section][name] = value
    return options


def difference(before: Options, after: Options) -> Change:
    """Return what changes ``before`` into ``after``. Pure.

    Raises:
        InvalidArgumentError: A new value is the mask that is shown in place of a secret; or
            nothing is left at all, as of a file that was cut off.

    """
    if any(before.values()) and not after:
        raise InvalidArgumentError(
            "the text is empty, so nothing is changed; to remove all options of a section, leave "
            f"its name: '{next(iter(before))}:'"
        )
    change = Change()
    for section, values in before.items():
        change.rm.extend((section, each) for each in values if each not in after.get(section, {}))
    for section, values in after.items():
        for name, value in values.items():
            if before.get(section, {}).get(name) == value:
                continue
            if value == MASK:
                raise InvalidArgumentError(f"{section}: {name}: write its value, not {MASK}")
            change.set.append((section, name, value))
    return change


def _mapping(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InvalidArgumentError(f"{what}: write names and values, 'name: value'")
    return found


async def _fetch(invocation: Invocation) -> tuple[int, Options]:
    """Return the newest version of the options, and the options: not older than that version."""
    from mgr.client.async_client import AsyncClient  # noqa: PLC0415 - imports grpc

    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        found = []
        for words in (("config", "log", "1"), ("config", "dump")):
            answer = await client.execute(words, {"format": "json"}, changes=False)
            if answer.retval < 0:
                raise InvalidArgumentError(answer.stderr)
            found.append(json.loads(answer.stdout))
    versions, stored = found
    options: Options = {}
    for each in stored:
        options.setdefault(each["section"], {})[each["name"]] = each["value"]
    return versions[0]["version"] if versions else 0, options


async def _send(
    invocation: Invocation, words: Sequence[str], version: int, change: Change, edited: str
) -> int:
    """Have a change applied or checked; a text that is refused, and is in no file yet, is kept."""
    from mgr.client.async_client import AsyncClient  # noqa: PLC0415 - imports grpc

    document = {"version": version, "set": change.set, "rm": change.rm}
    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        answer = await client.execute(words, data=json.dumps(document).encode())
    if answer.retval < 0:
        kept = f"; your text is in {_keep(edited.encode())}" if edited else ""
        return output.refusal(answer.retval, f"{answer.stderr}{kept}", invocation.format)
    return 0


def edit(text: str) -> str:
    """Return ``text`` as somebody left it in an editor.

    Raises:
        InvalidArgumentError: There is no such editor, it failed, or what it left is no text.

    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="mgrctl-") as folder:
        file = Path(folder, "options.yaml")
        file.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - the user's
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(f"cannot run the editor {editor}: {why(error)}") from None
        if done.returncode:
            raise InvalidArgumentError(f"the editor ended with status {done.returncode}")
        try:
            return _read(file)
        except InvalidArgumentError:
            if not file.exists():
                raise
            raise InvalidArgumentError(
                f"the text is not in UTF-8; it is in {_keep(file.read_bytes())}"
            ) from None


def _keep(text: bytes) -> str:
    with tempfile.NamedTemporaryFile(
        prefix="mgrctl-options-", suffix=".yaml", delete=False
    ) as file:
        file.write(text)
    return f"{file.name} (mgrctl config edit --from {file.name})"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"cannot read {file}: {why(error)}") from None


class _Loader(yaml.BaseLoader):
    """Reads every value as text. Refuses a name that is there twice: one value would be lost."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as inherited
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"{key.value!r} is there twice, again in line {line}")
                seen.add(key.value)
        return super().construct_mapping(node, deep)
