"""Pages that are written by the code they describe. ``make docs`` writes them."""

from __future__ import annotations

import asyncio
import errno
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from mgr import errors
from mgr.command.builtin.catalogue import builtins
from mgr.command.registry import Command
from mgr.errors import MgrError
from mgr.host.finder import DiscoveredModule, find_modules
from mgr.rpc.status import code_of
from mgr.settings import ENVIRONMENT_PREFIX, describe

NAMES = {errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN"}
"""Of the numbers with two names, the one that Ceph's documentation uses."""

DOCS = Path(__file__).parents[2] / "docs"


def settings() -> str:
    """Every setting of ``mgrd``."""
    return f"""\
# Settings

What `mgrd` is told at its start. Later wins: default, file (`--config FILE`, TOML), environment,
flag. Written by `make docs` from `mgr/settings.py`.

| in the file | flag | variable | kind | default | meaning |
|---|---|---|---|---|---|
{"".join(_setting(*each) for each in describe())}"""


def commands() -> str:
    """Every command, the manager's own and those of the bundled modules."""
    nouns = groupby(own_commands(), key=lambda command: command.prefix.split()[0])
    own = "".join(f"### {noun}\n\n{_table(found)}\n" for noun, found in nouns)
    modules = "".join(
        f"### {found.name}\n\n{_table(module_commands(found))}\n" for found in bundled_modules()
    )
    return (
        f"""\
# Commands

What `mgrctl` takes, and every gRPC client. Written by `make docs` from the commands themselves; a
running cluster tells its own list with `mgrctl help` and `mgrctl get_command_descriptions`.

Arguments stand in order; `[...]` may be left out. Each may also be given by name, `--name value`
or `--name=value`, with dashes for underscores. `perm` says what a command needs and does: `r`
reads, `w` changes something and is applied at most once however often it is repeated, `x`
executes. Every command takes `--format`: `plain`, `json`, `json-pretty`, `yaml`, `xml`.

## The manager's own

{own}## Of the bundled modules

An enabled module's commands are there; those of another one are refused with `EOPNOTSUPP`, by name.

{modules}""".rstrip()
        + "\n"
    )


def error_classes() -> str:
    """Every way in which a call can fail."""
    return f"""\
# Errors

A command that ran and said no is an *answer*: its `retval` is a negative errno, its message is in
`stderr`. A call fails only when nothing ran, or when nobody can know. Then its gRPC status
carries one `google.rpc.ErrorInfo`, domain `mgr.rpc.v1`, with one of these reasons; the Python
client raises the class. Written by `make docs` from `mgr/errors.py`.

| reason | class | gRPC status | errno | meaning |
|---|---|---|---|---|
{"".join(_error(each) for each in _family(MgrError))}"""


def decisions() -> str:
    """The list of decision records."""
    rows = [f"- [{_title(path)}]({path.name})" for path in sorted(DOCS.glob("adr/[0-9]*.md"))]
    listed = "\n".join(rows)
    return f"""\
# Decision records

One page each: context, decision, what was rejected and why, consequences. An accepted record is
not edited; a later one supersedes it. Code refers to a record by its number. Listed by
`make docs`.

{listed}
"""


PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings,
    "reference/commands.md": commands,
    "reference/errors.md": error_classes,
    "adr/README.md": decisions,
}


class NullCollaborator:
    """Stands where a command's collaborators would: declaring one needs none of them."""

    def __getattr__(self, name: str) -> Any:
        return self


def own_commands() -> list[Command]:
    """The manager's own commands, those left out of help excepted, by their words."""
    nobody: Any = NullCollaborator()
    found = builtins(nobody).commands
    return sorted((each for each in found if not each.hidden), key=lambda each: each.prefix)


def bundled_modules() -> list[DiscoveredModule]:
    """The modules that come with the product, by name."""
    found = asyncio.run(find_modules((), limit_s=30))
    return [found[name] for name in sorted(found)]


def module_commands(module: DiscoveredModule) -> Iterator[Command]:
    """A module's commands as the registry would hold them."""
    for each in module.commands:
        yield Command.of_module(module.name, each)


def _table(found: Iterator[Command]) -> str:
    rows = [
        f"| `{_cell(each.signature.usage())}` | `{each.perm}` | {_cell(each.help)} |\n"
        for each in found
        if not each.hidden
    ]
    return "| command | perm | what it does |\n|---|---|---|\n" + "".join(rows)


def _setting(name: str, kind: str, default: Any, words: str) -> str:
    flag, variable = f"--{name.replace('_', '-')}", f"{ENVIRONMENT_PREFIX}{name.upper()}"
    return (
        f"| `{name}` | `{flag}` | `{variable}` | {kind} | {_default(name, default)} | {words} |\n"
    )


def _default(name: str, default: object) -> str:
    if name == "id":
        return "the host's name"
    if isinstance(default, tuple):
        default = ",".join(default)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else "empty"


def _family(root: type[MgrError]) -> Iterator[type[MgrError]]:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    ours = [each for each in classes if issubclass(each, root) and each is not root]
    return iter(sorted(ours, key=lambda each: inspect.getsourcelines(each)[1]))


def _error(each: type[MgrError]) -> str:
    meaning = " ".join((each.__doc__ or "").split()).replace("``", "`")
    status = code_of(each.__new__(each)).name
    number = NAMES.get(each.errno) or errno.errorcode[each.errno]
    return f"| `{each.reason}` | `{each.__name__}` | `{status}` | `{number}` | {meaning} |\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _title(path: Path) -> str:
    return re.sub(r"^#\s*", "", path.read_text().splitlines()[0])


if __name__ == "__main__":
    for page, text in PAGES.items():
        (DOCS / page).write_text(text())
