"""Time: one clock for spans, one for print. The only file that reads either."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol


class Clock(Protocol):
    """Seconds that only grow and that count while the machine sleeps."""

    def now(self) -> float:
        """Seconds since boot, suspend included. Comparable between processes of one host."""
        ...


class BootClock:
    """``CLOCK_BOOTTIME``: a lease goes on running while the laptop lid is shut, so must we."""

    def now(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


CLOCK: Final[Clock] = BootClock()
"""The clock of a real process. Everything that decides takes a ``Clock`` and is tested by hand."""


def utc_now() -> datetime:
    """Wall time, to be printed and stored. Never compared to decide anything."""
    return datetime.now(UTC)


def wall_s() -> float:
    """Wall time in seconds since 1970: of points and stamps, never compared to decide anything."""
    return utc_now().timestamp()


def timestamp() -> str:
    """Wall time as ISO 8601 with microseconds, the form that Ceph prints."""
    return utc_now().isoformat(timespec="microseconds")
