"""The commands that ``mgrctl`` has itself, beside those that it sends to a manager.

They are imported when they are called. Each is a ``click`` command, called ``command``, in a module
of its own, and gets a ``Front``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from mgr.cli import interrupt, output, query
from mgr.cli.invocation import Invocation
from mgr.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """One such command.

    Attributes:
        words: What it begins with.
        summary: A line of help.
        module: Where it is.
        not_before: Followed by one of these words it is a command of the manager.
        shows: The first words behind ``words``, empty for none, with which it has an answer in
            every format, and takes ``-o``.

    """

    words: tuple[str, ...]
    summary: str
    module: str
    not_before: frozenset[str] = frozenset()
    shows: frozenset[str] = frozenset()

    def click_command(self) -> click.Command:
        """Import it."""
        found: click.Command = importlib.import_module(self.module).command
        return found


LOCAL_COMMANDS: Final = (
    LocalCommand(
        ("context",),
        "the clusters that mgrctl knows: ls, use, add, rm",
        "mgr.cli.context_commands",
        shows=frozenset({"ls"}),
    ),
    LocalCommand(
        ("backup",),
        "write what the cluster keeps in etcd to a file; 'mgrd restore' brings it back",
        "mgr.cli.backup",
        frozenset({"begin", "page"}),
    ),
    LocalCommand(
        ("doctor",),
        "look for what is wrong with the cluster, or soon will be",
        "mgr.cli.doctor.command",
        shows=frozenset({""}),
    ),
    LocalCommand(
        ("support-bundle",),
        "write what others need to help you into one file, secrets masked",
        "mgr.cli.support_bundle",
    ),
    LocalCommand(
        ("config", "edit"),
        "edit the options in an editor; what was changed is applied in one transaction",
        "mgr.cli.config_edit",
    ),
    LocalCommand(
        ("mgr", "module", "install"),
        "install a module's package on every manager",
        "mgr.cli.module_install",
    ),
    LocalCommand(
        ("auth", "renew"),
        "replace your own certificate by a new one before it expires",
        "mgr.cli.renew",
    ),
)


UNUSED: Final = {"in_file": "-i", "watch": "--watch"}
"""Flags that none of these commands has a use for."""


@dataclass(frozen=True, slots=True)
class Front:
    """The flags of the command line, for such a command.

    Attributes:
        options: Every flag by its name, as it was given.
        invocation_of: Returns what these flags mean for some words.

    """

    options: Mapping[str, Any]
    invocation_of: Callable[[Sequence[str]], Invocation]

    @property
    def format(self) -> str:
        """The output format that was asked for; empty: none."""
        return self.options.get("format") or ""

    def show(self, document: Any, text: str) -> None:
        """Print an answer as ``-f`` and ``-o`` say: ``document``, or without them ``text``.

        Raises:
            InvalidArgumentError: The query is wrong, or the file cannot be written.
            NotFoundError: The query matches nothing.

        """
        out_file: str | None = self.options.get("out_file")
        data = text.encode()
        if out_file is not None and query.is_query(out_file):
            data, out_file = query.apply(out_file, json.dumps(document).encode()), None
        elif self.format == "yaml":
            import yaml  # noqa: PLC0415 - few ask for it

            data = yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
        elif self.format.startswith("json"):
            data = json.dumps(document, indent=4 if self.format == "json-pretty" else None).encode()
        output.answer(data, "", out_file)

    def remark(self, text: str) -> None:
        """Print ``text`` to stderr, unless ``-q`` was given."""
        if not self.options.get("quiet"):
            sys.stderr.write(f"{text}\n")


def find(words: Sequence[str]) -> LocalCommand | None:
    """Return the command that ``words`` begin with; None if it is a manager's."""
    for each in LOCAL_COMMANDS:
        count = len(each.words)
        if tuple(words[:count]) == each.words:
            following = words[count] if len(words) > count else ""
            return None if following in each.not_before else each
    return None


def run(command: LocalCommand, words: Sequence[str], front: Front, *, explain: bool) -> int:
    """Run ``command`` with the ``words`` behind its own, or print its help; return the status.

    Raises:
        MgrError: It failed, or a flag was given that it has no use for.
        click.UsageError: The words are wrong.

    """
    if not explain:
        _check_flags(command, words, front)
    interrupt.raise_again()
    status = command.click_command().main(
        [*words, *(["--help"] if explain else [])],
        prog_name=f"mgrctl {' '.join(command.words)}",
        standalone_mode=False,
        obj=front,
    )
    return status if isinstance(status, int) else 0


def _check_flags(command: LocalCommand, words: Sequence[str], front: Front) -> None:
    shows = (words[0] if words else "") in command.shows
    unused = [flag for name, flag in UNUSED.items() if front.options.get(name)]
    if front.options.get("out_file") and not shows:
        unused.append("-o")
    if shows and front.format.startswith("xml"):
        unused.append(f"-f {front.format}")
    if unused:
        name = " ".join(command.words)
        raise InvalidArgumentError(f"{name} takes no {unused[0]}; see: mgrctl help {name}")


def first_words(words: Sequence[str], incomplete: str) -> list[tuple[str, str]]:
    """Return the words of these commands that may come next, each with a line of help."""
    count = len(words)
    return [
        (each.words[count], each.summary)
        for each in LOCAL_COMMANDS
        if len(each.words) > count
        and tuple(words) == each.words[:count]
        and each.words[count].startswith(incomplete)
    ]


def complete(
    words: Sequence[str], incomplete: str, environment: Mapping[str, str]
) -> list[tuple[str, str]] | None:
    """Return what may come after one of these commands; None if ``words`` are none of them."""
    found = find(words)
    if found is None:
        return None
    behind, command = words[len(found.words) :], found.click_command()
    if isinstance(command, click.Group) and not behind:
        pairs = [(name, each.get_short_help_str(80)) for name, each in command.commands.items()]
    elif found.words == ("context",) and behind in (("use",), ("rm",)):
        from mgr.cli.contexts import names  # noqa: PLC0415 - only here

        pairs = [(name, "") for name in names(environment)]
    else:
        pairs = []
    return [(word, text) for word, text in pairs if word.startswith(incomplete)]
