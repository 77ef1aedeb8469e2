"""The command console: completion of commands and their arguments, and running them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .page import PageRequest

SUGGESTED: Final = 6
LINE_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A command that fits what was typed, its arguments, and its words so far."""

    words: str
    arguments: str
    help: str


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``console.html``."""
    return {"line": request.text("line", LINE_LONGEST), "suggestions": suggestions(request, "")}


def suggestions(request: PageRequest, line: str) -> list[Suggestion]:
    """Return commands that begin with what was typed, or contain it, that the viewer may run."""
    table = request.reader.commands()
    typed = " ".join(line.split())
    begin = [words for words in table if words.startswith(typed)]
    # After a whole command its arguments are typed: the command itself stays in view.
    whole = [words for words in table if typed.startswith(f"{words} ")]
    inside = [words for words in table if typed in words and words not in begin]
    found = [*sorted(whole, key=len, reverse=True)[:1], *begin, *inside]
    wanted = found[: 3 * SUGGESTED]
    may = request.viewer.permitted(wanted)
    return [_suggestion(words, table[words]) for words in wanted if words in may][:SUGGESTED]


def words_of(line: str) -> list[str]:
    """Split a typed line as a shell does.

    Raises:
        ValueError: A quotation is not closed, or the line is empty or too long.

    """
    if len(line) > LINE_LONGEST:
        raise ValueError(f"a line may have {LINE_LONGEST} characters")
    words = shlex.split(line)
    if words and words[0] in {"mgrctl", "ceph"}:
        words = words[1:]
    if not words:
        raise ValueError("type a command")
    return words


def _suggestion(words: str, command: Mapping[str, Any]) -> Suggestion:
    arguments: Sequence[Mapping[str, Any]] = command["arguments"]
    return Suggestion(words, " ".join(map(_argument, arguments)), command["help"])


def _argument(argument: Mapping[str, Any]) -> str:
    name = str(argument["name"])
    choices = argument.get("strings")
    shown = str(choices) if choices and len(str(choices)) < 40 else f"<{name}>"
    if argument.get("type") == "CephBool":
        shown = f"--{name.replace('_', '-')}"
    needed = str(argument.get("req", "true")).lower() != "false"
    return shown if needed else f"[{shown}]"
