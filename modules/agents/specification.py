"""Service specifications: YAML documents, checked before anything is stored."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from mgr_orchestrator import Probe, Resources

from .reconciler import Placement

TEXT_MAX: Final = 1 << 20
"""Characters of one input."""
SERVICES_MAX: Final = 1000
"""Services in one input."""
SPECIFICATION_BYTES_MAX: Final = 400_000
"""One service as it is stored, with its files."""
FILES_MAX: Final = 256 << 10
"""Characters of the files of one service: they are stored with it."""
NUMBER_MAX: Final = 40
"""Characters of one number."""

NOT_OF_A_DAEMON: Final = ("placement", "max_unavailable", "rollback")
"""Fields of a specification that change nothing in a daemon that runs."""
DEPTH_MAX: Final = 20
"""Parts of the path of a file."""

Word = Annotated[str, Meta(min_length=1, max_length=4096)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")]
Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=255)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class InvalidSpecificationError(ValueError):
    """A specification is invalid; the text names the service, the place and the reason."""


class Where(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``placement``: the hosts that fit all of it, and how many daemons."""

    hosts: Annotated[tuple[str, ...], Meta(max_length=10_000)] = ()
    labels: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    host_pattern: str = ""
    count: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    count_per_host: Annotated[int, Meta(ge=1, le=100)] = 1

    def placement(self) -> Placement:
        """Return it as the reconciler takes it."""
        return Placement(
            hosts=self.hosts,
            labels=self.labels,
            pattern=self.host_pattern,
            count=self.count,
            per_host=self.count_per_host,
        )

    def summary(self) -> str:
        """Return it in Ceph's short form: ``count:3 label:web``."""
        parts = [f"label:{label}" for label in self.labels]
        parts += [";".join(self.hosts)] if self.hosts else []
        parts += [self.host_pattern] if self.host_pattern else []
        parts += [f"count:{self.count}"] if self.count is not None else []
        parts += [f"count-per-host:{self.count_per_host}"] if self.count_per_host > 1 else []
        return " ".join(parts) or "*"


class Specification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service. docs/how-to/orchestrate.md explains the fields."""

    service: Name
    kind: Literal["process", "systemd", "container"]
    placement: Where = Where()
    command: Annotated[tuple[Word, ...], Meta(max_length=1000)] = ()
    image: Annotated[str, Meta(pattern=r"^([!-,.-~][!-~]*)?$", max_length=1000)] = ""
    environment: dict[Variable, str] = {}
    secrets: dict[Variable, Name] = {}
    files: dict[str, str] = {}
    ports: Annotated[tuple[Port, ...], Meta(max_length=100)] = ()
    resources: Resources = Resources()
    probe: Probe | None = None
    start_s: Seconds = 30.0
    settle_s: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    stop_s: Seconds = 10.0
    max_unavailable: Annotated[int, Meta(ge=1, le=100_000)] = 1
    rollback: bool = True

    def __post_init__(self) -> None:
        """Refuse what no host could run."""
        if self.kind == "container":
            if not self.image:
                raise ValueError("a container needs an image")
            self._check_lines()
        elif self.image:
            raise ValueError(f"a {self.kind} has no image")
        elif not self.command or not self.command[0].startswith("/"):
            raise ValueError(f"a {self.kind} needs a command that begins with an absolute path")
        if both := sorted(self.environment.keys() & self.secrets.keys()):
            raise ValueError(f"{both[0]} is in environment and in secrets")
        probing = () if self.probe is None else self.probe.command
        if probing and not probing[0].startswith("/"):
            raise ValueError("the command of a probe begins with an absolute path")
        if len(set(self.ports)) < len(self.ports):
            raise ValueError("a port is there twice")
        if self.ports and self.placement.count_per_host > 1:
            raise ValueError(
                f"count_per_host is {self.placement.count_per_host}, and the daemons of one host "
                f"cannot share port {self.ports[0]}"
            )
        if any("\0" in text for text in (*self.command, *probing, *self.environment.values())):
            raise ValueError("a NUL character: no program could get it")
        self._check_files()

    def _check_lines(self) -> None:
        if names := [name for name, text in self.environment.items() if "\n" in text]:
            raise ValueError(f"{names[0]} in environment has several lines: put them in files")

    def _check_files(self) -> None:
        if sum(map(len, self.files.values())) > FILES_MAX:
            raise ValueError(f"files have more than {FILES_MAX} characters")
        for path in self.files:
            parts = path.split("/")
            if path.startswith("/") or {"", ".", ".."} & set(parts) or not path.isprintable():
                raise ValueError(f"{path!r} is no path inside a folder")
            if len(parts) > DEPTH_MAX:
                raise ValueError(f"a path of files has more than {DEPTH_MAX} parts")
        folders = {str(above) for path in self.files for above in PurePosixPath(path).parents}
        if both := sorted(folders & self.files.keys()):
            raise ValueError(f"{both[0]!r} is a file and a folder in files")

    def runs_as(self, other: Specification) -> bool:
        """Return whether daemons of both run the same, wherever they are and how many."""
        fields = {name: getattr(other, name) for name in NOT_OF_A_DAEMON}
        return msgspec.structs.replace(self, **fields) == other

    def config(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        """Return what an agent gets, with the values of ``secrets`` by their names."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for field in NOT_OF_A_DAEMON:
            del plain[field]
        plain["secrets"] = {name: secrets[ref] for name, ref in self.secrets.items()}
        return plain


def parse(text: str) -> list[Specification]:
    """Return the specifications in ``text``: YAML documents, or a list of them.

    Raises:
        InvalidSpecificationError: One is invalid; none is to be taken.

    """
    if len(text) > TEXT_MAX:
        raise InvalidSpecificationError(f"more than {TEXT_MAX} characters")
    try:
        # A few bytes are a document: no more are read than are taken.
        given = itertools.islice(yaml.load_all(text, _Loader), SERVICES_MAX + 1)
        documents = [each for each in given if each is not None]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidSpecificationError(f"not YAML: {' '.join(str(error).split())}") from None
    plain = [each for one in documents for each in (one if isinstance(one, list) else [one])]
    if not plain or len(plain) > SERVICES_MAX:
        count = "no" if not plain else f"more than {SERVICES_MAX}"
        raise InvalidSpecificationError(f"{count} services: give 1 to {SERVICES_MAX}")
    found = [specification(each) for each in plain]
    names = [each.service for each in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidSpecificationError(f"{name}: twice in one input")
    return found


def specification(document: Any) -> Specification:
    """Return one specification from plain data.

    Raises:
        InvalidSpecificationError: It is invalid.

    """
    name = document.get("service") if isinstance(document, dict) else None
    try:
        found = msgspec.convert(document, Specification)
        size = len(msgspec.json.encode(found))
    except msgspec.ValidationError as error:
        raise InvalidSpecificationError(f"{name or 'service'}: {error}") from None
    except UnicodeEncodeError:
        why = "it has a character that cannot be written as UTF-8"
        raise InvalidSpecificationError(f"{name!a}: {why}") from None
    if size > SPECIFICATION_BYTES_MAX:
        why = f"{size} bytes with its files: the limit is {SPECIFICATION_BYTES_MAX}"
        raise InvalidSpecificationError(f"{found.service}: {why}")
    return found


class _Loader(yaml.SafeLoader):
    """YAML without aliases, with which a few lines can stand for gigabytes, and without base 60.

    In YAML 1.1, ``22:22`` is 1342, and what a number of many such digits takes grows with the
    square of their count: half a mebibyte took half a minute. A key counts once.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as inherited
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"{key.value!r} is there twice, again in line {line}")
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)

    def construct_yaml_str(self, node: Any) -> Any:
        """In JSON, a character beyond the first 65 536 may be two escapes, which YAML leaves so."""
        text = super().construct_yaml_str(node)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:  # half a character: refused with the service's name
            return text

    def construct_yaml_int(self, node: Any) -> Any:
        self._check_number(node)
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        self._check_number(node)
        return super().construct_yaml_float(node)

    def _check_number(self, node: Any) -> None:
        text = self.construct_scalar(node)
        if len(text) > NUMBER_MAX or ":" in text:
            raise yaml.YAMLError(
                f"'{text[:NUMBER_MAX]}' in line {node.start_mark.line + 1} is no number here: "
                "put it in quotes if it is a text"
            )


_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_yaml_str)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
