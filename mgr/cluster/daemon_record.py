"""Stored record of a daemon, which survives failovers: its existence and its own description."""

from __future__ import annotations

import logging

import msgspec

from mgr.store.api import UNREADABLE

log = logging.getLogger(__name__)


class DaemonRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of ``daemons/<kind>.<id>``.

    Attributes:
        since: Wall time in ISO 8601 when it first joined, for people.
        silent_s: Seconds of silence when the record was written; 0 while it reports.
        client: The client that reports as this daemon, as the table of capabilities names it; empty
            if clients need no name.

    """

    host: str
    version: str
    metadata: dict[str, str]
    since: str
    silent_s: float = 0.0
    client: str = ""


def encode(record: DaemonRecord) -> str:
    """Return the stored value; equal records give equal text."""
    return msgspec.json.encode(record, order="deterministic").decode()


def decode(value: str) -> DaemonRecord | None:
    """Parse a stored value; None (logged) if it cannot be parsed."""
    try:
        return msgspec.json.decode(value, type=DaemonRecord)
    except UNREADABLE as error:
        log.warning("unreadable record of a daemon", extra={"error": str(error)})
        return None
