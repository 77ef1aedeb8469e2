"""Nobody takes a program's reports: said after some seconds, ever more seldom, and at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

FIRST_LOG_S: Final = 5.0
"""A failover is over by then, so that whoever reads of an absence has something to look into."""
LOG_INTERVAL_S_MAX: Final = 600.0

log = logging.getLogger(__name__)


class RetryLog:
    """One search for an active. Times are seconds of one clock."""

    def __init__(self, daemon: str, begun_s: float) -> None:
        """``daemon`` seeks one since ``begun_s``."""
        self._daemon = daemon
        self._begun_s = begun_s
        self._next_log_s = begun_s + FIRST_LOG_S
        self._logged = False

    def failing(self, now_s: float, unhelpful: Mapping[str, str]) -> None:
        """Nobody is found yet; ``unhelpful`` says of each address why it is no help.

        It is logged after ``FIRST_LOG_S``, then after twice as long, and so on.
        """
        if now_s < self._next_log_s:
            return
        lasted_s = now_s - self._begun_s
        self._next_log_s = now_s + min(max(lasted_s, FIRST_LOG_S), LOG_INTERVAL_S_MAX)
        self._logged = True
        # In the sentence itself: a program's own log seldom shows fields, and its author has
        # nothing else to go by when an address is wrong or certificates do not fit.
        log.warning(
            "no active manager is found, goes on looking: %s",
            "; ".join(f"{address}: {why}" for address, why in sorted(unhelpful.items())),
            extra={"daemon": self._daemon, "for_s": round(lasted_s)},
        )

    def recovered(self, now_s: float, manager: str) -> None:
        """The search is over: said if its lasting was, and as loudly."""
        if self._logged:
            log.warning(
                "an active manager is found: %s",
                manager,
                extra={"daemon": self._daemon, "after_s": round(now_s - self._begun_s)},
            )
