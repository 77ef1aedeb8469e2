"""Counts how often a limit on what clients may take was reached, for metrics, health and the log.

A limit protects the manager from its callers: a request above it is refused, a connection above it
is closed. Each refusal is counted here by the limit's name, and few of them are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from mgr.log_throttle import LogThrottle
from mgr.text import shortened

SHOWN_S: Final = 300.0
"""How long health shows that a limit was reached."""
CALLER_CHARS_MAX: Final = 80
CALLERS_MAX: Final = 10_000
"""Limit of callers whose rate is remembered."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reached:
    """How often one limit was reached, and by whom last.

    Attributes:
        count: Number of refusals since this worker started.
        caller: The caller that was refused last: its name, or its address.
        last_s: When, on the clock of this object's ``ClientLimits``.

    """

    count: int = 0
    caller: str = ""
    last_s: float = 0.0


class ClientLimits:
    """The limits that were reached, by name. The event loop only."""

    def __init__(self, now: Callable[[], float], registry: CollectorRegistry | None = None) -> None:
        """Take the time in seconds from ``now``; export a counter to ``registry``."""
        self._now = now
        self._reached: dict[str, Reached] = {}
        self._throttle = LogThrottle(now)
        self._counter = Counter(
            "mgr_client_limit_reached",
            "Requests, streams and connections refused because of a limit, by the limit's name",
            ["limit"],
            registry=registry,
        )

    def reached(self, limit: str, caller: str) -> None:
        """Count that ``caller`` was refused because of ``limit``."""
        found = self._reached.setdefault(limit, Reached())
        found.count += 1
        found.caller = shortened(caller, CALLER_CHARS_MAX)
        found.last_s = self._now()
        self._counter.labels(limit).inc()
        if due := self._throttle.due(limit):
            fields = {"limit": limit, "caller": found.caller, "times": due}
            log.warning("a client reached a limit", extra=fields)

    def recent(self) -> Mapping[str, Reached]:
        """Return the limits that were reached within ``SHOWN_S``, by name."""
        edge_s = self._now() - SHOWN_S
        return {name: each for name, each in self._reached.items() if each.last_s >= edge_s}


class RateLimit:
    """Token buckets by caller: ``per_s`` events a second, ``burst`` at once. For the loop only."""

    def __init__(self, now: Callable[[], float], *, per_s: float, burst: float) -> None:
        """Take the time in seconds from ``now``."""
        self._now = now
        self._per_s = per_s
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> bool:
        """Count one event of ``caller``; return whether it is within the limit."""
        now_s = self._now()
        left, at_s = self._buckets.get(caller, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        if caller not in self._buckets and len(self._buckets) >= CALLERS_MAX:
            self._forget_full(now_s)
        self._buckets[caller] = (left - 1 if left >= 1 else left), now_s
        return left >= 1

    def _forget_full(self, now_s: float) -> None:
        # A bucket that is full again is that of a caller who is not known. If none is, the oldest
        # goes: whoever comes from thousands of addresses is stopped by limits in total.
        full_s = self._burst / self._per_s
        old = [each for each, (_, at_s) in self._buckets.items() if now_s - at_s >= full_s]
        for each in old or [next(iter(self._buckets))]:
            del self._buckets[each]
