"""How often was the connection lost under one command? Twice is once too often."""

from __future__ import annotations

from typing import Final

from mgr.errors import TermLostError

LOSSES_MAX: Final = 1
"""A command that was under way when the connection broke is asked for again in the next term.
Where that breaks as well, it may be what kills managers: it is not carried to the third."""


class PoisonCommandGuard:
    """The terms in which the connection broke under one command.

    Terms, not breaks: a network that cuts the same connection twice says nothing of the command.
    """

    __slots__ = ("_terms",)

    def __init__(self) -> None:
        """Begin with none."""
        self._terms: frozenset[int] = frozenset()

    def record_loss(self, term: int) -> None:
        """It was under way in ``term``, and the connection broke."""
        self._terms |= {term}

    @property
    def too_many(self) -> bool:
        """Whether it must not be asked for again."""
        return len(self._terms) > LOSSES_MAX

    def error(self, why: str) -> TermLostError:
        """What its caller is told instead; ``why`` is how it was lost the last time."""
        return TermLostError(
            f"{len(self._terms)} managers were lost while this command was under way, which may "
            f"be the reason: not asked again (the last: {why})"
        )
