"""Limits log lines that clients cause, so that none of them can fill the log."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

LOG_EVERY_S: Final = 10.0
"""Interval of log lines about one thing."""
KEYS_MAX: Final = 1000
"""Limit of the things that are remembered; then all are forgotten."""


class LogThrottle:
    """Decides which of many equal events is logged: the first, then one every ``every_s``."""

    def __init__(self, now: Callable[[], float], *, every_s: float = LOG_EVERY_S) -> None:
        """Take the time in seconds from ``now``."""
        self._now = now
        self._every_s = every_s
        self._last: dict[Hashable, tuple[float, int]] = {}

    def due(self, key: Hashable) -> int:
        """Count an event of the kind ``key``; return how many a log line now stands for.

        0 means that none is to be written.
        """
        now_s = self._now()
        logged_s, unlogged = self._last.get(key, (float("-inf"), 0))
        if now_s - logged_s < self._every_s:
            self._last[key] = logged_s, unlogged + 1
            return 0
        if len(self._last) >= KEYS_MAX:
            self._last.clear()
        self._last[key] = now_s, 0
        return unlogged + 1
