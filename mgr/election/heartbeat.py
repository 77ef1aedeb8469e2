"""The leader heartbeat: its timing, and how its timeout adapts.

Rule: this file does no I/O and reads no clock.

Theory of operation
-------------------
An etcd lease counts whole seconds, which is too coarse for a quick failover. So the active writes a
small key, the leader heartbeat, several times per timeout. Each write is fenced: it compares the
term, so its success proves that leadership is still held. Each write changes a revision, which
standbys observe as a sign of life.

The active may act until *send time of the last successful heartbeat + timeout · (1 - 1 %) -
margin*. A standby may depose it *timeout · (1 + 1 %)* after it observed the last heartbeat. A
heartbeat is observed after it was committed, and committed after it was sent. So the first moment
is before the second one, however the two clocks are set. The creation of the leader key counts as
the first heartbeat.

**The timeout is in the leader's record.** Standbys use the value that they read there. The active
adapts it to the gaps it observes, in the order that keeps the argument above true:

- a longer timeout is written first, and used only when the write is known to be done;
- a shorter timeout is used first, and written only when no deadline of the longer one is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mgr.election.timing import CLOCK_RATE_ERROR
from mgr.errors import InvalidSettingError

MARGIN_S: Final = 0.05
"""An active stops this long before it can be deposed, for the case of a pause between the check of
the deadline and the effect."""
LATENCIES_PER_MARGIN: Final = 3
MARGIN_SHARE_MAX: Final = 0.5
"""The margin takes at most this share of the timeout, also after slow answers of the store."""
GAPS_PER_TIMEOUT: Final = 4
HEARTBEATS_PER_TIMEOUT_MIN: Final = 3
HISTORY_MAX: Final = 100
"""Number of heartbeats whose gaps and latencies are kept: one in a hundred may be late without
consequence."""
HEADROOM: Final = 1.25
"""A longer timeout is set to this multiple of the need, so that it does not grow all the time."""
SHORTEN_BELOW: Final = 0.6
"""The timeout is shortened when less than this share of it is needed."""


def usable_s(timeout_s: float, margin_s: float) -> float:
    """How long after it was sent a heartbeat entitles the active to act, in seconds."""
    return timeout_s * (1 - CLOCK_RATE_ERROR) - margin_s


def safe_takeover_s(timeout_s: float) -> float:
    """How long after an observed heartbeat its sender has certainly stopped acting, in seconds."""
    return timeout_s * (1 + CLOCK_RATE_ERROR)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatProfile:
    """The configured interval and timeout of the leader heartbeat, before any adapting.

    Raises:
        InvalidSettingError: One lost heartbeat would suspend the active.

    """

    every_s: float
    timeout_s: float

    def __post_init__(self) -> None:
        """Reject spans under which a healthy active would be suspended."""
        span_s = usable_s(self.timeout_s, MARGIN_S)
        if self.every_s <= 0 or self.every_s * HEARTBEATS_PER_TIMEOUT_MIN > span_s:
            raise InvalidSettingError(
                f"{HEARTBEATS_PER_TIMEOUT_MIN} heartbeats every {self.every_s:g} s do not fit into "
                f"{span_s:g} s (a timeout of {self.timeout_s:g} s less its margins)"
            )


PROFILES: Final[Mapping[str, HeartbeatProfile | None]] = {
    "default": HeartbeatProfile(every_s=0.25, timeout_s=1.5),
    "fast": HeartbeatProfile(every_s=0.1, timeout_s=0.5),
    "off": None,
}
"""The leader heartbeat of each value of the setting ``profile``; None: there is none."""


class AdaptiveHeartbeat:
    """The heartbeat of one term: calculates deadlines and adapts the timeout.

    ``timeout_s`` is the shortest timeout that standbys may find in the leader's record. Deadlines
    are never calculated from a longer one.
    """

    def __init__(self, profile: HeartbeatProfile, ceiling_s: float) -> None:
        """Begin with the timeout of ``profile``; never lengthen it beyond ``ceiling_s``."""
        self.every_s = profile.every_s
        self.timeout_s = profile.timeout_s
        self._floor_s = profile.timeout_s
        self._ceiling_s = max(ceiling_s, profile.timeout_s)
        self._sent_s: float | None = None
        self._unsure = False
        self._latencies: deque[float] = deque(maxlen=HISTORY_MAX)
        self._gaps: deque[float] = deque(maxlen=HISTORY_MAX)

    @property
    def request_s(self) -> float:
        """Time limit of one heartbeat request: two fit into a timeout."""
        return self.timeout_s / 2

    @property
    def margin_s(self) -> float:
        """How long before the end of the timeout the active stops acting, in seconds."""
        wanted_s = max(MARGIN_S, LATENCIES_PER_MARGIN * _nearly_worst(self._latencies))
        return min(wanted_s, self.timeout_s * MARGIN_SHARE_MAX)

    def on_success(self, sent_s: float, answered_s: float) -> None:
        """Record a heartbeat that was sent at ``sent_s`` and succeeded."""
        if self._sent_s is not None:
            self._gaps.append(sent_s - self._sent_s)
        self._sent_s = sent_s
        self._latencies.append(answered_s - sent_s)

    def deadline_s(self, sent_s: float) -> float:
        """The moment until which a heartbeat sent at ``sent_s`` entitles the active to act."""
        return sent_s + usable_s(min(self.timeout_s, self.wanted_s), self.margin_s)

    @property
    def wanted_s(self) -> float:
        """The timeout that fits the observed gaps; the present one while it fits well enough."""
        needed_s = GAPS_PER_TIMEOUT * _nearly_worst(self._gaps)
        if self.timeout_s * SHORTEN_BELOW <= needed_s <= self.timeout_s:
            return self.timeout_s
        if needed_s < self.timeout_s and self.timeout_s == self._floor_s:
            return self.timeout_s
        return min(max(needed_s * HEADROOM, self._floor_s), self._ceiling_s)

    def timeout_to_write(self, deadline_s: float) -> float | None:
        """The timeout to write into the record now, or None.

        ``deadline_s`` is the latest deadline that the worker was given. From here on the shorter
        of the old and the new timeout is used, until ``on_timeout_written``: the write may be
        executed at any time.
        """
        wanted_s = self.wanted_s
        if self._sent_s is None or (wanted_s == self.timeout_s and not self._unsure):
            return None
        if wanted_s < self.timeout_s and self.deadline_s(self._sent_s) < deadline_s:
            return None
        self.timeout_s = min(wanted_s, self.timeout_s)
        self._unsure = True
        return wanted_s

    def on_timeout_written(self, timeout_s: float) -> None:
        """Record that ``timeout_s`` is in the record and no earlier write can replace it."""
        self.timeout_s = timeout_s
        self._unsure = False


def _nearly_worst(spans_s: deque[float]) -> float:
    """The 99th percentile, which ignores a single outlier."""
    if not spans_s:
        return 0.0
    return sorted(spans_s)[int(0.99 * (len(spans_s) - 1))]
