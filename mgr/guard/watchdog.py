"""The watchdog: it checks by the age of the last heartbeat whether the worker's loop runs."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

CHECKS_PER_LIMIT: Final = 6
"""The least number of checks in one limit."""
CHECK_DELAY_S: Final = 0.001
"""A check happens this long after the limit is reached: at that moment it is not yet exceeded."""
GUARD_PAUSE_SHARE_MAX: Final = 0.5
"""If more than this share of the limit passed between two checks, the guard itself was paused."""


class Verdict(Enum):
    """The result of a check of the worker."""

    HEALTHY = auto()
    DUMP = auto()
    """No heartbeat for half the limit: let the worker dump every thread's stack to its log."""
    KILL = auto()
    """No heartbeat for the whole limit: kill the worker, so that it is certainly dead."""


class Watchdog:
    """Decides from the times of heartbeats what to do about the worker. Pure.

    After a pause of the guard itself (for instance of the whole machine) the time starts again: in
    such a pause the silence of the worker proves nothing.
    """

    def __init__(self, limit_s: float, now_s: float) -> None:
        """Begin at ``now_s``; a worker without a heartbeat for ``limit_s`` seconds is killed."""
        self.limit_s = limit_s
        self._last_heartbeat_s = now_s
        self._last_check_s = now_s
        self._has_dumped = False

    def on_heartbeat(self, now_s: float) -> None:
        """Record a heartbeat of the worker."""
        self._last_heartbeat_s = now_s
        self._has_dumped = False

    def silent_s(self, now_s: float) -> float:
        """The time since the last heartbeat, in seconds."""
        return now_s - self._last_heartbeat_s

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next check, so that a verdict comes when it is due."""
        due_s = self._last_heartbeat_s + (self.limit_s if self._has_dumped else self.limit_s / 2)
        return min(max(due_s - now_s, 0.0) + CHECK_DELAY_S, self.limit_s / CHECKS_PER_LIMIT)

    def check(self, now_s: float) -> Verdict:
        """Return the verdict; DUMP is returned once per silence."""
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
