"""Is the worker's event loop turning? Judged by the age of its last heartbeat."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

CHECKS_PER_LIMIT: Final = 6
"""How often in one limit to look at least."""
CHECK_DELAY_S: Final = 0.001
"""A look comes this long after the moment it is about: at that moment itself nothing is over."""
GUARD_PAUSE_SHARE_MAX: Final = 0.5
"""A pause between two looks of more than this part of the limit was the guard's own."""


class Verdict(Enum):
    """What to do about the worker."""

    HEALTHY = auto()
    DUMP = auto()
    """Half the limit is over: let it write down every thread's stack, while it still can."""
    KILL = auto()
    """It is silent: turn "perhaps alive" into "certainly dead"."""


class Watchdog:
    """Pure: told of heartbeats and of the time, answers with a verdict.

    It does not decide while it was slow itself: if the guard stood still as well (the whole
    machine was paused), the worker's silence proves nothing and its time begins anew.
    """

    def __init__(self, limit_s: float, now_s: float) -> None:
        """Begin at ``now_s``; silence of more than ``limit_s`` is fatal."""
        self.limit_s = limit_s
        self._last_heartbeat_s = now_s
        self._last_check_s = now_s
        self._has_dumped = False

    def on_heartbeat(self, now_s: float) -> None:
        """The worker gave a sign of life."""
        self._last_heartbeat_s = now_s
        self._has_dumped = False

    def silent_s(self, now_s: float) -> float:
        """How long nothing was heard."""
        return now_s - self._last_heartbeat_s

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next look, so that a verdict comes when it is due."""
        due_s = self._last_heartbeat_s + (self.limit_s if self._has_dumped else self.limit_s / 2)
        return min(max(due_s - now_s, 0.0) + CHECK_DELAY_S, self.limit_s / CHECKS_PER_LIMIT)

    def check(self, now_s: float) -> Verdict:
        """Judge; DUMP comes once in a silence."""
        if now_s - self._last_check_s > self.limit_s * GUARD_PAUSE_SHARE_MAX:
            self.on_heartbeat(now_s)
        self._last_check_s = now_s
        silent_s = now_s - self._last_heartbeat_s
        if silent_s > self.limit_s:
            return Verdict.KILL
        if silent_s > self.limit_s / 2 and not self._has_dumped:
            self._has_dumped = True
            return Verdict.DUMP
        return Verdict.HEALTHY
