"""Clocks: ``CLOCK_BOOTTIME`` for time spans, wall time for printing. No other file reads either.

The functions are imported by name: a module that replaces those of ``time`` changes no clock here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Final, Protocol


class Clock(Protocol):
    """A monotonic clock that also counts while the machine is suspended."""

    def now(self) -> float:
        """Seconds since boot, suspend included. Comparable between processes of one host."""
        ...


class BootClock:
    """``CLOCK_BOOTTIME``: leases expire while a machine is suspended, so this must count it."""

    now = staticmethod(partial(clock_gettime, CLOCK_BOOTTIME))
    """Seconds since boot, suspend included. No function of ours: each command asks it often."""


CLOCK: Final[Clock] = BootClock()
"""The clock of a real process. Code that decides takes a ``Clock``, so that tests can set it."""


def utc_now() -> datetime:
    """Return wall time, for printing and storing only: no decision may compare it."""
    return datetime.now(UTC)


def wall_s() -> float:
    """Return wall time in seconds since 1970.

    For time stamps, and for the ends of certificates and tokens, which are wall times: no other
    decision may compare it.
    """
    return utc_now().timestamp()


def timestamp() -> str:
    """Return wall time as ISO 8601 with microseconds, the format that Ceph prints."""
    return utc_now().isoformat(timespec="microseconds")


def to_the_second(stamp: str) -> str:
    """Shorten a timestamp to seconds, for people."""
    try:
        return datetime.fromisoformat(stamp).isoformat(timespec="seconds")
    except ValueError:
        # Empty (no manager has led yet), or in the form of a later version.
        return stamp
