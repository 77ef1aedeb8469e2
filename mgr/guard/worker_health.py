"""Does the worker reach the store? Judged by what its heartbeats say, pure.

The guard's own way to the store proves nothing about the worker's: a worker without a free file
descriptor, or whose connections alone are cut, commits nothing, while its event loop turns and
the guard renews the term. So each heartbeat tells how old the worker's last confirmed write is,
and how old its copy of the store. Too old is a fault of the worker only while the guard itself is
answered: a store that is slow or silent for everybody deposes nobody.
"""

from __future__ import annotations

import math
from typing import Final

from mgr.link import WorkerHeartbeat

UNABLE_AFTER_S: Final = 5.0
"""A worker that did not reach the store for this long, while its guard did, is replaced. Longer
than it takes to notice a frozen endpoint, to connect to another one and to list everything."""
CONFIRMED_AFTER_S: Final = 1.0
GAP_S: Final = 3.0
"""A guard that heard no answer for so long was slow or cut off itself, and counts from the next."""
RESTART_AFTER_S: Final = 20.0
"""A standby's worker that stays behind for so long is replaced, too: it may never recover."""


class WorkerHealth:
    """What the heartbeats of one worker say. Times are seconds on the guard's clock."""

    def __init__(self) -> None:
        """Begin with nothing known, which is nothing bad: a start has a limit of its own."""
        self._write_age_s: float | None = None
        self._mirror_age_s: float | None = None
        self._behind_from_s = math.inf
        self._sent_s = -math.inf

    def on_heartbeat(self, heartbeat: WorkerHeartbeat) -> None:
        """Take in a heartbeat."""
        self._write_age_s = heartbeat.write_age_s
        self._mirror_age_s = heartbeat.mirror_age_s
        self._sent_s = heartbeat.sent_s
        if self.current:
            self._behind_from_s = math.inf
        else:
            self._behind_from_s = min(self._behind_from_s, heartbeat.sent_s)

    @property
    def behind_s(self) -> float:
        """For how long the worker has not reached the store; 0 while nothing is known."""
        return max(self._write_age_s or 0.0, self._mirror_age_s or 0.0)

    @property
    def current(self) -> bool:
        """Whether the worker reached the store lately enough to lead."""
        return self.behind_s <= UNABLE_AFTER_S

    def unable(self, answered_s: float) -> bool:
        """Whether the worker is unable to work although the store is well.

        ``answered_s``: for how long the guard has been answered. One heartbeat is not enough: the
        first after a stall tells of the stall.
        """
        confirmed = self._sent_s - self._behind_from_s >= CONFIRMED_AFTER_S
        return confirmed and min(self.behind_s, answered_s) > UNABLE_AFTER_S

    def needs_restart(self, answered_s: float) -> bool:
        """Whether a worker that leads nothing should be replaced."""
        return self.unable(answered_s) and min(self.behind_s, answered_s) > RESTART_AFTER_S


class StoreContact:
    """For how long the guard has been answered, again and again.

    A single request that fails says nothing: the answers before and after it count. What counts
    is a gap in the answers.
    """

    def __init__(self) -> None:
        """Begin without any answer; ``GAP_S`` without one ends what was counted."""
        self._since_s = math.inf
        self._last_s = -math.inf

    def on_answer(self, now_s: float) -> None:
        """A request of the guard was answered."""
        if now_s - self._last_s > GAP_S:
            self._since_s = now_s
        self._last_s = now_s

    def answered_for_s(self, now_s: float) -> float:
        """How long there has been no gap; 0 in one."""
        return 0.0 if now_s - self._last_s > GAP_S else now_s - self._since_s
