"""The audit in etcd: two rings, one of changes and one of refusals, each with its own bounds.

A caller that is refused again and again can displace refusals, never changes. Nothing but the
active's own code writes here, and no command removes a record.
"""

from __future__ import annotations

import logging
from typing import Final

from mgr.audit.record import AuditRecord, decode
from mgr.store.api import Delete, FencedWriter, Reader, Record
from mgr.store.keys import Keys

DELETED_AT_ONCE: Final = 100
SLACK: Final = 16
"""The oldest records are deleted when a ring is above its bound by one part in so many, so that
the ring is not listed for each new record."""

log = logging.getLogger(__name__)


class Ring:
    """The records under one prefix, bounded in number and in characters."""

    def __init__(self, prefix: str, mirror: Reader, writer: FencedWriter) -> None:
        self._prefix = prefix
        self._mirror = mirror
        self._writer = writer
        self._count = 0
        self._chars = 0

    def load(self) -> None:
        """Count the records that are stored."""
        records = self._mirror.list(self._prefix).values()
        self._count = len(records)
        self._chars = sum(len(record.value) for record in records)

    def added(self, chars: int) -> None:
        """Count a new record."""
        self._count += 1
        self._chars += chars

    async def trim(self, count_max: int, chars_max: int) -> None:
        """Delete the oldest records if the ring is above a bound.

        Raises:
            StoreError: As raised by writes; the next call goes on.

        """
        if self._count <= count_max + count_max // SLACK and self._chars <= (
            chars_max + chars_max // SLACK
        ):
            return
        records = self._mirror.list(self._prefix)
        count, chars = len(records), sum(len(record.value) for record in records.values())
        surplus: list[str] = []
        for key, record in records.items():
            if count <= count_max and chars <= chars_max:
                break
            count -= 1
            chars -= len(record.value)
            surplus.append(key)
        for first in range(0, len(surplus), DELETED_AT_ONCE):
            keys = surplus[first : first + DELETED_AT_ONCE]
            await self._writer.commit([Delete(key) for key in keys])
        self._count, self._chars = count, chars


def stored_in(mirror: Reader, keys: Keys, *, after: str = "") -> list[Record]:
    """Return the stored records of both rings, oldest first; ``after`` is a place (``Keys``).

    They are not decoded: there may be thousands, of which few are wanted.
    """
    found = [
        (key.removeprefix(prefix), stored)
        for prefix in (keys.audited_changes, keys.audited_refusals)
        for key, stored in mirror.list(prefix).items()
    ]
    found.sort(key=lambda each: each[0])
    return [stored for place, stored in found if place > after]


def records_in(mirror: Reader, keys: Keys) -> list[AuditRecord]:
    """Return every record of both rings, oldest first. Unreadable ones are left out."""
    return [record for each in stored_in(mirror, keys) if (record := readable(each)) is not None]


def readable(stored: Record) -> AuditRecord | None:
    """Decode a stored record; None, and a line in the log, if it is malformed."""
    record = decode(stored.value)
    if record is None:
        log.warning("unreadable audit record", extra={"key": stored.key})
    return record
