"""Where modules run, in threads of the worker or in processes of their own: the option."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from mgr.config.module_words import parse_words, readable_words
from mgr.config.option_types import refuse
from mgr.store.keys import NAME

MODULE_ISOLATION: Final = "mgr_module_isolation"


class Isolation(Enum):
    """Where a module runs."""

    THREAD = "thread"
    """In two threads of the worker."""
    PROCESS = "process"
    """In a process of its own, which may crash or hang without the worker."""


DEFAULT: Final = Isolation.THREAD
ALL: Final = ""
"""Stands for every module that is not named, in what ``parse_isolation`` returns."""


def isolation_of(module: str, chosen: Mapping[str, Isolation]) -> Isolation:
    """Return where ``module`` runs, by what the operator has chosen."""
    return chosen.get(module, chosen.get(ALL, DEFAULT))


def parse_isolation(text: str) -> dict[str, Isolation]:
    """Parse ``text``, such as ``process crash=thread``, by module; ``ALL`` is for the others.

    Words are separated by blanks or commas.

    Raises:
        InvalidArgumentError: A word is malformed, or a module is named twice.

    """
    return parse_words(text, _read)


def readable_isolation(text: str) -> dict[str, Isolation]:
    """Parse a text that may have been stored by force; malformed words are skipped."""
    found: dict[str, Isolation] = {}
    for name, isolation in readable_words(text, _read):
        found.setdefault(name, isolation)
    return found


def normalised_isolation(text: str) -> str:
    """Return ``text`` in the form in which it is stored: the word for all, then by module.

    Raises:
        InvalidArgumentError: See ``parse_isolation``.

    """
    words = sorted(parse_isolation(text).items())
    return " ".join(f"{name}={each.value}" if name else each.value for name, each in words)


def _read(word: str) -> tuple[str, Isolation]:
    name, equals, value = word.rpartition("=")
    known = {each.value: each for each in Isolation}
    if value not in known or (equals and not NAME.fullmatch(name)):
        raise refuse(f"'{word}' is neither process or thread nor MODULE=process or MODULE=thread")
    return name, known[value]
