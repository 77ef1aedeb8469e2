"""The commands that ``mgrctl`` has itself, beside those that it sends to a manager.

They are imported when they are called. Each is a ``click`` command, called ``command``, in a module
of its own, and gets a ``Front``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from mgr.cli import interrupt
from mgr.cli.invocation import Invocation


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """One such command. Followed by a word of ``not_before`` it is a command of the manager."""

    words: tuple[str, ...]
    summary: str
    module: str
    not_before: frozenset[str] = frozenset()

    def click_command(self) -> click.Command:
        """Import it."""
        found: click.Command = importlib.import_module(self.module).command
        return found


LOCAL_COMMANDS: Final = (
    LocalCommand(
        ("context",),
        "the clusters that mgrctl knows: ls, use, add, rm",
        "mgr.cli.context_commands",
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
        MgrError: It failed.
        click.UsageError: The words are wrong.

    """
    interrupt.raise_again()
    status = command.click_command().main(
        [*words, *(["--help"] if explain else [])],
        prog_name=f"mgrctl {' '.join(command.words)}",
        standalone_mode=False,
        obj=front,
    )
    return status if isinstance(status, int) else 0


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
