"""The pulse: a small guarded write, again and again, and how long each may be relied on.

Rule: this file does no I/O and reads no clock.

Theory of operation
-------------------
An etcd lease counts whole seconds. A pulse is a lease made of writes: each compares the term, so
that its success proves the office, and each moves a revision, so that a standby sees life. The
active may act until *send time of the last successful pulse + window · (1 - 1 %) - margin*; a
standby may depose it *window · (1 + 1 %)* after it observed the last pulse. It observed it after
it was committed, which was after it was sent: so the first moment lies before the second, however
the two clocks are set. Making the leader key counts as the first pulse.

**The window stands in the leader's record.** Standbys use what they find there. The active adapts
it to the gaps it observes, in the order that keeps the argument true:

- a longer window is written first, and used only when the write is known to be done;
- a shorter one is used first, and written only when no deadline of the longer one is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mgr.election.timing import CLOCK_RATE_ERROR
from mgr.errors import InvalidSettingError

MARGIN_S: Final = 0.05
"""An active stops this long before it can be deposed: for a pause between check and deed."""
LATENCIES_PER_MARGIN: Final = 3
MARGIN_SHARE_MAX: Final = 0.5
"""A store that is slow for a moment must not take the whole window."""
GAPS_PER_TIMEOUT: Final = 4
HEARTBEATS_PER_TIMEOUT_MIN: Final = 3
HISTORY_MAX: Final = 100
"""So many pulses are looked back on: a hundredth of them may be late without consequence."""
HEADROOM: Final = 1.25
"""A window is made so much longer than needed, so that it is not made longer all the time."""
SHORTEN_BELOW: Final = 0.6
"""It is shortened once so little of it is needed."""


def usable_s(timeout_s: float, margin_s: float) -> float:
    """How long after it was sent a pulse may be acted on."""
    return timeout_s * (1 - CLOCK_RATE_ERROR) - margin_s


def safe_takeover_s(timeout_s: float) -> float:
    """How long after a pulse was observed, whoever sent it certainly acts no more."""
    return timeout_s * (1 + CLOCK_RATE_ERROR)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatProfile:
    """How often the heart beats, and how long a beat lasts: as set, before any adapting.

    Raises:
        InvalidSettingError: A lost pulse would cost the office.

    """

    every_s: float
    timeout_s: float

    def __post_init__(self) -> None:
        """Refuse spans under which a healthy active would be suspended."""
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
"""The pulse of each profile that can be set."""


class AdaptiveHeartbeat:
    """The pulse of one term: told of every beat, answers until when it may be relied on.

    ``timeout_s`` is the shortest that may stand in the record: what is used is never longer.
    """

    def __init__(self, profile: HeartbeatProfile, ceiling_s: float) -> None:
        """Begin as ``profile`` says; never adapt beyond ``ceiling_s``."""
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
        """How long one pulse may take: two fit into a window."""
        return self.timeout_s / 2

    @property
    def margin_s(self) -> float:
        """How long before the end of the window the active stops."""
        wanted_s = max(MARGIN_S, LATENCIES_PER_MARGIN * _nearly_worst(self._latencies))
        return min(wanted_s, self.timeout_s * MARGIN_SHARE_MAX)

    def on_success(self, sent_s: float, answered_s: float) -> None:
        """A pulse succeeded."""
        if self._sent_s is not None:
            self._gaps.append(sent_s - self._sent_s)
        self._sent_s = sent_s
        self._latencies.append(answered_s - sent_s)

    def deadline_s(self, sent_s: float) -> float:
        """Until when a pulse that was sent at ``sent_s`` may be relied on."""
        return sent_s + usable_s(min(self.timeout_s, self.wanted_s), self.margin_s)

    @property
    def wanted_s(self) -> float:
        """The window that fits the gaps observed; the present one while that is good enough."""
        needed_s = GAPS_PER_TIMEOUT * _nearly_worst(self._gaps)
        if self.timeout_s * SHORTEN_BELOW <= needed_s <= self.timeout_s:
            return self.timeout_s
        if needed_s < self.timeout_s and self.timeout_s == self._floor_s:
            return self.timeout_s
        return min(max(needed_s * HEADROOM, self._floor_s), self._ceiling_s)

    def timeout_to_write(self, deadline_s: float) -> float | None:
        """The window to be written now, if any. ``deadline_s``: how far the active was told.

        From here on the shorter of the two is used, until ``on_timeout_written``.
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
        """``timeout_s`` certainly stands in the record, and nothing older can replace it."""
        self.timeout_s = timeout_s
        self._unsure = False


def _nearly_worst(spans_s: deque[float]) -> float:
    """The 99th percentile; a single outlier is none."""
    if not spans_s:
        return 0.0
    return sorted(spans_s)[int(0.99 * (len(spans_s) - 1))]
