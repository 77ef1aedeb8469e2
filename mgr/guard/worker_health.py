"""Decide from the worker's heartbeats whether the worker reaches the store. Pure.

The guard's own connection to the store proves nothing about the worker's: a worker without a free
file descriptor, or whose connections alone are cut, commits nothing, while its event loop runs and
the guard confirms the term. So each heartbeat contains the age of the worker's last confirmed write
and of its copy of the store. A high age is a fault of the worker only while the store answers the
guard: a store that is slow or unavailable for everybody deposes nobody.
"""

from __future__ import annotations

import math
from typing import Final

from mgr.link import WorkerHeartbeat

UNABLE_AFTER_S: Final = 5.0
"""A worker that did not reach the store for this long, while its guard did, is replaced. Longer
than it takes to notice a frozen endpoint, to connect to another one and to list everything."""
CONFIRMED_AFTER_S: Final = 1.0
"""Heartbeats must report the fault for this long; a single one may be left from a stall."""
GAP_S: Final = 3.0
"""A guard without an answer for this long was slow or cut off itself; it counts from the next one.
"""
RESTART_AFTER_S: Final = 20.0
"""A standby's worker that does not reach the store for this long is replaced as well."""


class WorkerHealth:
    """Evaluates the heartbeats of one worker. Times are seconds on the guard's clock."""

    def __init__(self) -> None:
        """Begin as healthy: a worker that starts has a time limit of its own."""
        self._write_age_s: float | None = None
        self._mirror_age_s: float | None = None
        self._behind_from_s = math.inf
        self._sent_s = -math.inf

    def on_heartbeat(self, heartbeat: WorkerHeartbeat) -> None:
        """Record a heartbeat."""
        self._write_age_s = heartbeat.write_age_s
        self._mirror_age_s = heartbeat.mirror_age_s
        self._sent_s = heartbeat.sent_s
        if self.current:
            self._behind_from_s = math.inf
        else:
            self._behind_from_s = min(self._behind_from_s, heartbeat.sent_s)

    @property
    def behind_s(self) -> float:
        """How long the worker has not reached the store, in seconds; 0 while nothing is known."""
        return max(self._write_age_s or 0.0, self._mirror_age_s or 0.0)

    @property
    def current(self) -> bool:
        """Whether the worker reached the store recently enough to lead."""
        return self.behind_s <= UNABLE_AFTER_S

    def unable(self, answered_s: float) -> bool:
        """Whether the worker does not reach the store although the store works.

        ``answered_s`` is how long the store has answered the guard. One heartbeat is not enough:
        the first one after a stall reports the stall.
        """
        confirmed = self._sent_s - self._behind_from_s >= CONFIRMED_AFTER_S
        return confirmed and min(self.behind_s, answered_s) > UNABLE_AFTER_S

    def needs_restart(self, answered_s: float) -> bool:
        """Whether the worker of a manager that does not lead should be replaced."""
        return self.unable(answered_s) and min(self.behind_s, answered_s) > RESTART_AFTER_S


class StoreContact:
    """Measures how long the store has answered the guard without a gap.

    A single failed request is no gap: only the time between two answers counts.
    """

    def __init__(self) -> None:
        """Begin without any answer; ``GAP_S`` without one ends what was counted."""
        self._since_s = math.inf
        self._last_s = -math.inf

    def on_answer(self, now_s: float) -> None:
        """Record that a request of the guard was answered at ``now_s``."""
        if now_s - self._last_s > GAP_S:
            self._since_s = now_s
        self._last_s = now_s

    def answered_for_s(self, now_s: float) -> float:
        """How long there has been no gap, in seconds; 0 during a gap."""
        return 0.0 if now_s - self._last_s > GAP_S else now_s - self._since_s
