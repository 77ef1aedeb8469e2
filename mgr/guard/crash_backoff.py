"""How often may a worker crash before the next one has to wait?"""

from __future__ import annotations

from collections import deque
from typing import Final

CRASHES_MAX: Final = 3
WINDOW_S: Final = 60.0
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0


class CrashLoopBackoff:
    """Pure. ``CRASHES_MAX`` crashes within ``WINDOW_S`` of running time; then growing pauses.

    Running time, not wall time: the pauses themselves must not win a crashing worker its
    budget back. One that runs for a whole window is forgiven everything.
    """

    def __init__(self) -> None:
        self._running_time_s = 0.0
        self._crashes: deque[float] = deque(maxlen=CRASHES_MAX)
        self._pauses = 0

    def record_crash(self, lived_s: float) -> None:
        """Count a worker that ended unasked after ``lived_s``."""
        self._running_time_s += lived_s
        self._crashes.append(self._running_time_s)
        within = self._running_time_s - self._crashes[0] <= WINDOW_S
        over = len(self._crashes) == CRASHES_MAX and within
        self._pauses = self._pauses + 1 if over else 0

    def pause_s(self) -> float:
        """How long the next worker has to wait; 0 while the budget lasts."""
        if not self._pauses:
            return 0.0
        return min(PAUSE_FIRST_S * 2.0 ** (self._pauses - 1), PAUSE_MAX_S)
