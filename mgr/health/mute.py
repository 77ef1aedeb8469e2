"""Mutes of health checks: their stored record, and when they expire."""

from __future__ import annotations

import logging

import msgspec

from mgr.health.check import Check
from mgr.store.api import UNREADABLE

log = logging.getLogger(__name__)


class Mute(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``mutes/<code>``.

    A mute with a time limit is attached to a lease of that length: the store ends it, whichever
    manager leads then, and no clocks are compared. (When etcd elects a new leader of its own it
    restarts leases, so such a mute may last longer than asked, never shorter.)

    Attributes:
        sticky: The mute stays when the check clears or gets worse.
        summary: The check's summary when it was muted.
        count: The check's count then; it goes down with the count, never up.
        until: When it ends, as wall time for display; empty if it has no limit.

    """

    sticky: bool = False
    summary: str = ""
    count: int = 0
    until: str = ""


def encode(mute: Mute) -> str:
    """Return the value of the mute's record."""
    return msgspec.json.encode(mute).decode()


def decode(value: str) -> Mute | None:
    """Read a record's value. If it cannot be read, log that and return None: nothing is muted."""
    try:
        return msgspec.json.decode(value, type=Mute)
    except UNREADABLE as error:
        log.warning("unreadable mute", extra={"value": value, "error": str(error)})
        return None


def mute_after(mute: Mute, check: Check | None) -> Mute | None:
    """Return the mute after its check has changed to ``check`` (None: cleared); None: it expired.

    A mute expires when the check clears, when its count rises or, for a check without a count,
    when its summary changes. A sticky one never does.
    """
    if mute.sticky:
        return mute
    if check is None:
        return None
    if mute.count == 0:
        return mute if check.summary == mute.summary else None
    if check.count > mute.count:
        return None
    return msgspec.structs.replace(mute, count=check.count)
