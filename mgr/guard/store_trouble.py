"""Why etcd does not confirm what this guard asks of it, for the log and for ``status``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from mgr.clock import Clock
from mgr.errors import LeaseExpiredError, StoreError
from mgr.store.cause import Cause, cause_of

WINDOW_S: Final = 5.0
"""Of the causes of so many seconds the most telling one is shown: with two members down and one
without a quorum, only every third request is answered with "no leader"."""
FAILURES_MAX: Final = 64


class Work(Enum):
    """What was asked of etcd. Each is answered, and fails, for itself."""

    WRITE = auto()
    """A heartbeat, a campaign, a term record: refused by an etcd without space."""
    RENEW = auto()
    """A renewal of the lease, or a read."""


class StoreTrouble:
    """The recent failed requests of a guard, and the cause that they show."""

    def __init__(self, clock: Clock) -> None:
        """Begin without trouble."""
        self.error = ""
        """The last failed request, with its purpose."""
        self.on_changed: Callable[[], None] = lambda: None
        """Called when ``cause`` has changed."""
        self._clock = clock
        self._failures: dict[Work, deque[tuple[float, Cause]]] = {
            work: deque(maxlen=FAILURES_MAX) for work in Work
        }
        self._shown: Cause | None = None

    @property
    def cause(self) -> Cause | None:
        """Why etcd cannot be used now; None if it can."""
        return self._shown

    def failed(self, work: Work, error: StoreError) -> None:
        """Record that ``work`` failed with ``error``. An expired lease is no trouble of etcd's."""
        if isinstance(error, LeaseExpiredError):
            return
        self._failures[work].append((self._clock.now(), cause_of(error)))
        self.error = str(error)
        self._update()

    def answered(self, work: Work) -> None:
        """Record that ``work`` succeeded."""
        if self._failures[work]:
            self._failures[work].clear()
            self._update()

    def _update(self) -> None:
        from_s = self._clock.now() - WINDOW_S
        found = []
        for failures in self._failures.values():
            # The last failure counts until an answer comes, however long ago it was.
            while len(failures) > 1 and failures[0][0] < from_s:
                failures.popleft()
            found += [cause for _, cause in failures]
        cause = min(found, key=lambda each: each.rank, default=None)
        if cause is not self._shown:
            self._shown = cause
            self.on_changed()
