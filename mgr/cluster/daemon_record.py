"""What is kept of a daemon across failovers: that it exists, and what it said of itself."""

from __future__ import annotations

import logging

import msgspec

from mgr.store.api import UNREADABLE

log = logging.getLogger(__name__)


class DaemonRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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


def encode(record: DaemonRecord) -> str:
    """The record's value; the same text for the same record."""
    return msgspec.json.encode(record, order="deterministic").decode()


def decode(value: str) -> DaemonRecord | None:
    """Read a record's value; None (logged) where it cannot be read."""
    try:
        return msgspec.json.decode(value, type=DaemonRecord)
    except UNREADABLE as error:
        log.warning("unreadable record of a daemon", extra={"error": str(error)})
        return None
