"""What is kept of a daemon across failovers: that it exists, and what it said of itself."""

from __future__ import annotations

import logging

import msgspec

from mgr.store.api import UNREADABLE

log = logging.getLogger(__name__)


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of ``daemons/<kind>.<id>``.

    Attributes:
        since: When it first joined, wall time in ISO 8601, for people.
        silent_s: For how long it had been silent when this was written; 0 while it reports.

    """

    host: str
    version: str
    metadata: dict[str, str]
    since: str
    silent_s: float = 0.0


def encode(member: Member) -> str:
    """The record's value; the same text for the same member."""
    return msgspec.json.encode(member, order="deterministic").decode()


def decode(value: str) -> Member | None:
    """Read a record's value; None (logged) where it cannot be read."""
    try:
        return msgspec.json.decode(value, type=Member)
    except UNREADABLE as error:
        log.warning("unreadable record of a daemon", extra={"error": str(error)})
        return None
