"""Texts of options that choose something for single modules: ``telegraf=external status=none``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from mgr.config.option_types import refuse
from mgr.errors import InvalidArgumentError

T = TypeVar("T")

ReadWord = Callable[[str], tuple[str, T]]
"""Reads one word: the module, or an empty text for all of them, and what is chosen.

Raises ``InvalidArgumentError`` for a malformed word.
"""


def parse_words(text: str, read: ReadWord[T]) -> dict[str, T]:
    """Parse ``text`` by module. Words are separated by blanks or commas.

    Raises:
        InvalidArgumentError: A word is malformed, or a module is named twice.

    """
    found: dict[str, T] = {}
    for word in _words(text):
        name, chosen = read(word)
        if name in found:
            raise refuse(f"module '{name}' is named twice" if name else "two words for all modules")
        found[name] = chosen
    return found


def readable_words(text: str, read: ReadWord[T]) -> Iterator[tuple[str, T]]:
    """Read a text that may have been stored by force; malformed words are skipped."""
    for word in _words(text):
        try:
            yield read(word)
        except InvalidArgumentError:
            continue


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()
