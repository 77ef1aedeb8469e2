"""Ids of requests whose results were evicted before their time: known, so never run again.

A result that has to make room leaves the 64-bit hash of its id behind. Many hashes are packed into
one record, written in the transaction that deletes the results, on a lease of at least the
journal's. Every active keeps all of them in memory, as its mirror shows them.
"""

from __future__ import annotations

import hashlib
import logging
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from mgr.store.api import LeaseId, Put, Record
from mgr.store.keys import Keys
from mgr.store.mirror import Change

EVICTED_MAX: Final = 300_000
"""Hashes kept, some 20 MB of memory. More, and new requests with an id are refused: to forget an
id would be to let its request run twice."""
HASH_BYTES: Final = 8

log = logging.getLogger(__name__)


class View(Protocol):
    """The mirror, read and followed."""

    def get(self, key: str) -> Record | None:
        """One key as last seen."""
        ...

    def under(self, prefix: str) -> Mapping[str, Record]:
        """Every key that begins with ``prefix``."""
        ...

    def subscribe(
        self, prefix: str, callback: Callable[[Sequence[Change]], None]
    ) -> Callable[[], None]:
        """Call ``callback`` with each change under ``prefix``."""
        ...


class Evicted:
    """The ids of one term. Follows the mirror from its first use on."""

    def __init__(self, mirror: View, keys: Keys, *, term: int) -> None:
        """Read what ``mirror`` shows; name new records by ``term``."""
        self._mirror = mirror
        self._keys = keys
        self._term = term
        self._written = 0
        self._record_of: dict[int, str] | None = None

    def __contains__(self, request_id: str) -> bool:
        """Whether the result of ``request_id`` was evicted."""
        return _hash(request_id) in self._known()

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self._known())

    @property
    def full(self) -> bool:
        """Whether there is no room for more."""
        return len(self._known()) >= EVICTED_MAX

    def record(self, request_ids: Iterable[str], lease: LeaseId) -> Put:
        """What to write in the transaction that deletes the results of ``request_ids``."""
        self._written += 1
        hashes = array("Q", map(_hash, request_ids))
        key = self._keys.evicted_requests(f"{self._term}-{self._written}")
        return Put(key, b64encode(hashes.tobytes()).decode(), lease)

    def _known(self) -> dict[int, str]:
        if self._record_of is None:
            # At the first mutating command, not at the beginning of the term: a failover does
            # not wait for it.
            self._record_of = {}
            prefix = self._keys.evicted
            self._add(self._mirror.under(prefix).values())
            self._mirror.subscribe(prefix, self._follow)
        return self._record_of

    def _follow(self, changes: Sequence[Change]) -> None:
        known = self._known()
        gone = {change.key for change in changes if change.record is None}
        if gone:
            self._record_of = {each: key for each, key in known.items() if key not in gone}
        self._add(change.record for change in changes if change.record is not None)

    def _add(self, records: Iterable[Record]) -> None:
        known = self._known()
        for record in records:
            known.update(dict.fromkeys(_hashes_in(record), record.key))


def _hash(request_id: str) -> int:
    digest = hashlib.blake2b(request_id.encode(), digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest, "little")


def _hashes_in(record: Record) -> Iterable[int]:
    hashes = array("Q")
    try:
        hashes.frombytes(b64decode(record.value, validate=True))
    except ValueError as error:
        log.warning("unreadable record", extra={"key": record.key, "error": str(error)})
    return hashes
