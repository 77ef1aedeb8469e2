"""Muted checks: what is stored of a mute, and when it falls by itself."""

from __future__ import annotations

import logging

import msgspec

from mgr.health.check import Check
from mgr.store.api import UNREADABLE

log = logging.getLogger(__name__)


class Mute(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``mutes/<code>``.

    A mute with a time limit hangs on a lease of that length: it ends in the store, whoever leads
    then, and no clock is compared. (An election within etcd starts leases anew, so such a mute
    may last longer than asked, never shorter.)

    Attributes:
        sticky: It stays when the check clears or gets worse.
        summary: The check's summary when it was muted.
        count: The check's count then; it goes down with the count, never up.
        until: When it ends, as wall time for people; empty: it has no limit.

    """

    sticky: bool = False
    summary: str = ""
    count: int = 0
    until: str = ""


def encode(mute: Mute) -> str:
    """The record's value."""
    return msgspec.json.encode(mute).decode()


def decode(value: str) -> Mute | None:
    """Read a record's value; None (logged) where it cannot be read: then nothing is muted."""
    try:
        return msgspec.json.decode(value, type=Mute)
    except UNREADABLE as error:
        log.warning("unreadable mute", extra={"value": value, "error": str(error)})
        return None


def mute_after(mute: Mute, check: Check | None) -> Mute | None:
    """What becomes of ``mute`` once the check is as ``check`` says (None: cleared).

    None: it falls. It falls when the check clears, when its count rises, or, for a check that
    counts nothing, when its summary changes; a sticky one stays in any case.
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
