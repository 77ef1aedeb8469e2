"""Delay the start of the next worker after repeated crashes."""

from __future__ import annotations

from collections import deque
from typing import Final

CRASHES_MAX: Final = 3
WINDOW_S: Final = 60.0
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0


class CrashLoopBackoff:
    """Exponential back-off for workers that crash. Pure.

    From ``CRASHES_MAX`` crashes within ``WINDOW_S`` on, each further crash doubles the pause. The
    window counts running time, not wall time: otherwise the pauses themselves would end it. A
    worker that runs for a whole window resets the pause.
    """

    def __init__(self) -> None:
        self._running_time_s = 0.0
        self._crashes: deque[float] = deque(maxlen=CRASHES_MAX)
        self._pauses = 0

    def record_crash(self, lived_s: float) -> None:
        """Record that a worker ended by itself after ``lived_s`` seconds."""
        self._running_time_s += lived_s
        self._crashes.append(self._running_time_s)
        within = self._running_time_s - self._crashes[0] <= WINDOW_S
        over = len(self._crashes) == CRASHES_MAX and within
        self._pauses = self._pauses + 1 if over else 0

    def pause_s(self) -> float:
        """Return the delay before the next start, in seconds; 0 while crashes are few."""
        if not self._pauses:
            return 0.0
        return min(PAUSE_FIRST_S * 2.0 ** (self._pauses - 1), PAUSE_MAX_S)
