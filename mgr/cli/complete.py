"""Shell completion: the words that may come next. Imports grpc only to fetch a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from mgr.argument.descriptor import Argument, Signature
from mgr.argument.types import CephBool, CephChoices
from mgr.cli.command_cache import CommandTable, is_fresh, load, path
from mgr.cli.names import Source, names_for, targets
from mgr.errors import MgrError
from mgr.tls import Tls

Configured = Callable[[], tuple[str, Callable[[], Tls | None]]]

OWN_WORDS: Final = {
    "help": "List all commands, or those that begin with the given words",
    "tell": "Send a command to a named manager or daemon only",
    "completion": "Print the completion script of a shell",
}
"""Words that ``mgrctl`` interprets itself."""
FOR_PROGRAMS: Final = frozenset({("get_command_descriptions",)})
"""Commands that completion leaves out: only programs use them."""


def fetch_table(hosts: str, file: Path, tls: Tls | None) -> CommandTable:
    """Ask a manager for its commands."""
    from mgr.cli.run import fetch  # noqa: PLC0415 - imports grpc: only without a fresh table

    return fetch(hosts, file, tls)


def candidates(
    words: Sequence[str],
    incomplete: str,
    configured: Configured,
    fetch: Callable[[str, Path, Tls | None], CommandTable] = fetch_table,
) -> list[tuple[str, str]]:
    """Return what may come after ``words``, each with a line of help; empty if no manager answers.

    ``configured`` returns the managers' addresses, and what reads the certificates for them;
    ``fetch`` asks for the commands if the cached ones are too old.
    """
    try:
        where, certificates = configured()
        file = path(where, os.environ)
        table = load(file) if is_fresh(file) else fetch(where, file, certificates())
    except MgrError:
        # An error message would be printed into the line that the user is typing.
        return []

    def ask(words: tuple[str, ...]) -> Any:
        from mgr.cli.run import document  # noqa: PLC0415 - imports grpc: only for a name

        return document(where, words, certificates())

    return suggestions(table, words, incomplete, ask)


def suggestions(
    table: CommandTable,
    words: Sequence[str],
    incomplete: str,
    ask: Source = lambda _: None,
) -> list[tuple[str, str]]:
    """Return the next words of commands that begin with ``words``, or values of a complete one.

    Flags are offered only if ``incomplete`` begins one: a shell inserts a single choice by itself,
    and an optional flag would be inserted unasked.
    """
    found: dict[str, str] = {}
    match tuple(words):
        case ():
            found |= OWN_WORDS
        case ("tell",):
            found["mgr"] = "The active manager; mgr.<id>: only if this manager is the active"
            found |= dict.fromkeys(targets(ask), "")
        case ("help", *asked) | ("tell", _, *asked):
            words = asked
    for signature, entry in table.visible():
        own = signature.words
        if own in FOR_PROGRAMS:
            continue
        count = len(words)
        if count < len(own) and own[:count] == tuple(words):
            last = count + 1 == len(own)
            found.setdefault(own[count], entry.help if last else "")
        elif own == tuple(words[: len(own)]):
            flags = incomplete.startswith("-")
            for value in _values(signature, words[len(own) :], ask, flags=flags):
                found.setdefault(value, entry.help)
    return [(word, text) for word, text in found.items() if word.startswith(incomplete)]


def _values(signature: Signature, given: Sequence[str], ask: Source, *, flags: bool) -> list[str]:
    positional = [argument for argument in signature.arguments if argument.positional]
    bare = [word for word in given if not word.startswith("--")]
    found: list[str] = []
    if len(bare) < len(positional) and not flags:
        wanted = positional[len(bare)]
        found = _choices(wanted) or names_for(signature.prefix, wanted.name, ask)
    for argument in signature.arguments:
        flag = f"--{argument.name.replace('_', '-')}"
        if flags and not argument.positional and flag not in given:
            found.append(flag)
    return found


def _choices(argument: Argument) -> list[str]:
    if isinstance(argument.type, CephChoices):
        return list(argument.type.strings)
    return ["true", "false"] if isinstance(argument.type, CephBool) else []
