"""The time spans of the election, derived from the lease and checked against each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mgr.errors import InvalidSettingError

RENEWALS_PER_LEASE: Final = 5
RENEWALS_PER_LEASE_MIN: Final = 3
"""Leadership must survive one lost packet, and even two."""

CLOCK_RATE_ERROR: Final = 0.01
"""How much the rates of two machines' clocks may differ. Their offsets do not matter."""

LEASE_TTL_S_MAX: Final = 60
"""The longest lease that can be set (``lease_ttl_s``)."""
UNKNOWN_WINDOW_S: Final = LEASE_TTL_S_MAX * (1 + CLOCK_RATE_ERROR)
"""How long a term whose record cannot be read may act after its end, in seconds: the longest that
can be configured."""

REQUESTS_PER_LEASE: Final = 8
"""The time-out of a request of the election is the lease divided by this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The time spans that decide which manager may act, and when.

    All are seconds on this machine's own ``CLOCK_BOOTTIME``. None is ever compared with a
    timestamp of another machine, so clock *offsets* between machines do not matter. Clock *rates*
    do: ``CLOCK_RATE_ERROR`` is the allowance for them.

    Attributes:
        ttl_s: Lease length as *granted* by the store (it may be longer than asked for).
        renew_every_s: Interval of renewals; at least three must fit into a lease.
        request_s: Time limit of one request of the election. At most the interval, so that
            attempts never queue behind each other.
        margin_s: An active stops this long before its lease can possibly expire, for the case of
            a pause between the check of the deadline and the effect.
        transfer_head_start_s: How long the other managers wait for a named successor.
        jitter_s_max: Longest random wait before a campaign, so that standbys do not collide.

    Raises:
        InvalidSettingError: The spans contradict each other.

    """

    ttl_s: float = 5.0
    renew_every_s: float = 1.0
    request_s: float = 0.625
    margin_s: float = 0.15
    transfer_head_start_s: float = 0.2
    jitter_s_max: float = 0.002

    def __post_init__(self) -> None:
        """Reject spans under which a healthy active would lose leadership."""
        if min(self.renew_every_s, self.request_s, self.margin_s) <= 0:
            raise InvalidSettingError("renew_every_s, request_s and margin_s must be above 0")
        if self.renew_every_s * RENEWALS_PER_LEASE_MIN > self.usable_s:
            raise InvalidSettingError(
                f"{RENEWALS_PER_LEASE_MIN} renewals every {self.renew_every_s:g} s do not fit into "
                f"{self.usable_s:g} s (a lease of {self.ttl_s:g} s less its margins): "
                "raise lease_ttl_s"
            )
        if self.request_s > self.renew_every_s:
            raise InvalidSettingError(
                f"a request of {self.request_s:g} s would still wait when the next renewal is "
                f"due after {self.renew_every_s:g} s"
            )

    @classmethod
    def of_lease(cls, ttl_s: float) -> Timing:
        """Derive every span from the length of the lease."""
        return cls(
            ttl_s=ttl_s,
            renew_every_s=ttl_s / RENEWALS_PER_LEASE,
            request_s=ttl_s / REQUESTS_PER_LEASE,
        )

    @property
    def usable_s(self) -> float:
        """How long after a renewal was *sent* an active may act on it."""
        return self.ttl_s * (1 - CLOCK_RATE_ERROR) - self.margin_s

    @property
    def window_s(self) -> float:
        """How long after the end of its leader key an unreachable manager may still act.

        Its last renewal was before that end, and its clock is slower by at most
        ``CLOCK_RATE_ERROR``.
        """
        return self.ttl_s * (1 + CLOCK_RATE_ERROR)

    def deadline_s(self, sent_s: float) -> float:
        """The moment until which a renewal that was sent at ``sent_s`` entitles the active to act.

        Counted from the sending, not from the answer: the store restarts the lease some time
        between the two, so a deadline counted from the answer could be after its expiry.
        """
        return sent_s + self.usable_s

    def with_ttl(self, ttl_s: float) -> Timing:
        """Return the same spans with the lease length that the store granted."""
        return replace(self, ttl_s=ttl_s)
