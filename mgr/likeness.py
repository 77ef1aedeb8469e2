"""How similar a typed text is to known ones, in a time that hardly depends on what was typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

CHARS_MAX: Final = 80
"""Characters of the typed text that are compared: more than any command has."""
SIMILAR_MIN: Final = 0.6
"""Two texts are similar from this likeness on."""


class Typed:
    """A typed text, prepared to be compared with many known ones.

    The likeness of two texts is twice the length of their longest common subsequence, divided by
    the sum of their lengths: 1.0 for equal texts. ``difflib`` would need a second for ten thousand
    characters and a hundred commands, and whoever reaches the port may type that.
    """

    def __init__(self, text: str) -> None:
        """Prepare the first ``CHARS_MAX`` characters of ``text``."""
        text = text[:CHARS_MAX]
        self._size = len(text)
        self._places: dict[str, int] = {}
        for place, character in enumerate(text):
            self._places[character] = self._places.get(character, 0) | 1 << place

    def likeness(self, known: str) -> float:
        """Return a number from 0.0 (nothing in common) to 1.0 (equal)."""
        if not self._size and not known:
            return 1.0
        # The bit-parallel method of Hyyrö (2004): a zero bit is one character of the subsequence.
        every = row = (1 << self._size) - 1
        for character in known:
            matches = row & self._places.get(character, 0)
            row = ((row + matches) | (row - matches)) & every
        common = self._size - row.bit_count()
        return 2 * common / (self._size + len(known))


def most_similar(typed: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that is most similar to ``typed``; None if none is similar."""
    prepared = Typed(typed)
    best = max(((prepared.likeness(each), each) for each in known), default=(0.0, ""))
    return best[1] if best[0] >= SIMILAR_MIN else None
