"""Is the worker's event loop turning? Judged by the age of its last heartbeat."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

LOOKS_PER_LIMIT: Final = 6
"""How often in one limit to look: a kill comes at most a sixth of the limit late."""
GAP_MAX: Final = 0.5
"""A pause between two looks of more than this part of the limit was the guard's own."""


class Verdict(Enum):
    """What to do about the worker."""

    WELL = auto()
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
        self._heard_s = now_s
        self._looked_s = now_s
        self._dumped = False

    def heard(self, now_s: float) -> None:
        """The worker gave a sign of life."""
        self._heard_s = now_s
        self._dumped = False

    def look(self, now_s: float) -> Verdict:
        """Judge; DUMP comes once in a silence."""
        if now_s - self._looked_s > self.limit_s * GAP_MAX:
            self.heard(now_s)
        self._looked_s = now_s
        silent_s = now_s - self._heard_s
        if silent_s > self.limit_s:
            return Verdict.KILL
        if silent_s > self.limit_s / 2 and not self._dumped:
            self._dumped = True
            return Verdict.DUMP
        return Verdict.WELL
