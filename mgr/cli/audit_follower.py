"""``mgrctl audit follow``: which records are new, and what to ask for next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

PAST: Final = 20
"""Records shown before the new ones."""
AT_ONCE: Final = 1000
EVERY_S: Final = 1.0
STARTED: Final = "started"
RUNS_LONG_S: Final = 5.0
"""A command that has not ended after this time is shown as started, and once more at its end."""
PENDING_S: Final = 60.0
"""After this time the end of a command is no longer waited for."""

Place = tuple[int, int]


class AuditFollower:
    """Remembers what was shown. Pure: it is given each answer and the time."""

    def __init__(self) -> None:
        self._last: Place = (0, 0)
        self._pending: dict[Place, float] = {}
        self._shown: set[Place] = set()

    @property
    def after(self) -> str:
        """Ask for the records after this id. It does not advance while a record is pending."""
        if not self._pending:
            return _text(self._last)
        term, sequence = min(self._pending)
        return _text((term, sequence - 1))

    def take(self, documents: Iterable[dict[str, Any]], now_s: float) -> list[dict[str, Any]]:
        """Return the records to show now."""
        shown = [each for each in documents if self._is_due(each, now_s)]
        kept_from = min(self._pending, default=self._last)
        self._shown = {place for place in self._shown if place >= kept_from}
        return shown

    def _is_due(self, document: dict[str, Any], now_s: float) -> bool:
        place: Place = (document["term"], document["sequence"])
        self._last = max(self._last, place)
        if document["outcome"] != STARTED:
            waited_for = self._pending.pop(place, None) is not None
            due = waited_for or place not in self._shown
            self._shown.add(place)
            return due
        if place in self._shown and place not in self._pending:
            return False
        waited_s = now_s - self._pending.setdefault(place, now_s)
        if waited_s >= PENDING_S:
            del self._pending[place]
        if waited_s < RUNS_LONG_S or place in self._shown:
            return False
        self._shown.add(place)
        return True


def _text(place: Place) -> str:
    return f"{place[0]}-{place[1]}"
