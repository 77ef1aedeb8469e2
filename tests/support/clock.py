"""Time that a test moves by hand."""

from __future__ import annotations

from collections.abc import Callable


class ManualClock:
    """Stands still until told otherwise; whoever asked is told of every move."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        """Seconds since a start that means nothing."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once: what ends in between ends now."""
        if seconds < 0:
            raise AssertionError("time does not run backwards")
        self._now_s += seconds
        for watcher in tuple(self._watchers):
            watcher()

    def when_moved(self, call: Callable[[], None]) -> None:
        """Call ``call`` after every move. ``MemoryStore`` ends leases by it."""
        self._watchers.append(call)
