"""Counts how often a limit on what clients may take was reached, for metrics, health and the log.

A limit protects the manager from its callers: a request above it is refused, a connection above it
is closed. Each refusal is counted here by the limit's name. One log line names the limit and the
caller; further ones within ``LOG_EVERY_S`` are counted and named in the next line, so that no
client can fill the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from mgr.text import shortened

LOG_EVERY_S: Final = 10.0
"""Interval of log lines about one limit."""
SHOWN_S: Final = 300.0
"""How long health shows that a limit was reached."""
CALLER_CHARS_MAX: Final = 80

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
    _logged_s: float = float("-inf")
    _unlogged: int = 0

    def lines_due(self, now_s: float) -> int:
        """Count one refusal; return how many a log line now stands for, 0 if none is due."""
        self._unlogged += 1
        if now_s - self._logged_s < LOG_EVERY_S:
            return 0
        self._logged_s = now_s
        due, self._unlogged = self._unlogged, 0
        return due


class ClientLimits:
    """The limits that were reached, by name. The event loop only."""

    def __init__(self, now: Callable[[], float], registry: CollectorRegistry | None = None) -> None:
        """Take the time in seconds from ``now``; export a counter to ``registry``."""
        self._now = now
        self._reached: dict[str, Reached] = {}
        self._counter = Counter(
            "mgr_client_limit_reached",
            "Requests, streams and connections refused because of a limit, by the limit's name",
            ["limit"],
            registry=registry,
        )

    def reached(self, limit: str, caller: str) -> None:
        """Count that ``caller`` was refused because of ``limit``."""
        now_s = self._now()
        found = self._reached.setdefault(limit, Reached())
        found.count += 1
        found.caller = shortened(caller, CALLER_CHARS_MAX)
        found.last_s = now_s
        self._counter.labels(limit).inc()
        if due := found.lines_due(now_s):
            fields = {"limit": limit, "caller": found.caller, "times": due}
            log.warning("a client reached a limit", extra=fields)

    def recent(self) -> Mapping[str, Reached]:
        """Return the limits that were reached within ``SHOWN_S``, by name."""
        edge_s = self._now() - SHOWN_S
        return {name: each for name, each in self._reached.items() if each.last_s >= edge_s}
