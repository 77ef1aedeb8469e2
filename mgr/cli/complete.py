"""What may stand next on the command line. Imports grpc only to fetch a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mgr.argument.descriptor import Argument, Signature
from mgr.argument.types import CephBool, CephChoices
from mgr.cli.command_cache import CommandTable, is_fresh, load, path
from mgr.cli.config import hosts, load_config
from mgr.errors import MgrError

OWN_WORDS: Final = {
    "help": "List commands: all, or those that begin so",
    "tell": "Ask one manager by name, or nobody",
    "completion": "Print what makes a shell complete",
}
"""Words that ``mgrctl`` reads itself."""
FOR_PROGRAMS: Final = frozenset({("get_command_descriptions",)})


def candidates(
    words: Sequence[str],
    incomplete: str,
    given: str | None,
    fetch: Callable[[str, Path], CommandTable],
) -> list[tuple[str, str]]:
    """Return what may come after ``words``, each with a line of help; none if nobody answers."""
    try:
        where = hosts(given, os.environ, load_config(os.environ))
        file = path(where, os.environ)
        table = load(file) if is_fresh(file) else fetch(where, file)
    except MgrError:
        # A shell that completes must not be told of trouble in the middle of a line.
        return []
    return suggestions(table, words, incomplete)


def suggestions(
    table: CommandTable, words: Sequence[str], incomplete: str
) -> list[tuple[str, str]]:
    """Next words of commands that begin with ``words``; values of a command that is complete.

    Flags are offered to whoever begins one: a shell types what is the only choice.
    """
    found: dict[str, str] = {}
    match tuple(words):
        case ():
            found |= OWN_WORDS
        case ("tell",):
            found["mgr"] = "The active manager; mgr.<id>: only if it is this one"
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
            for value in _values(signature, words[len(own) :], flags=incomplete.startswith("-")):
                found.setdefault(value, entry.help)
    return [(word, text) for word, text in found.items() if word.startswith(incomplete)]


def _values(signature: Signature, given: Sequence[str], *, flags: bool) -> list[str]:
    positional = [argument for argument in signature.arguments if argument.positional]
    bare = [word for word in given if not word.startswith("--")]
    found = _choices(positional[len(bare)]) if len(bare) < len(positional) else []
    for argument in signature.arguments:
        flag = f"--{argument.name.replace('_', '-')}"
        if flags and not argument.positional and flag not in given:
            found.append(flag)
    return found


def _choices(argument: Argument) -> list[str]:
    if isinstance(argument.type, CephChoices):
        return list(argument.type.strings)
    return ["true", "false"] if isinstance(argument.type, CephBool) else []
