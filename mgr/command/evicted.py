"""Ids of requests whose results were evicted early, so that these requests are not run again.

When a result is evicted, the 64-bit hash of its request id is kept. Many hashes are packed into
one record. It is written in the same transaction that deletes the results, on a lease at least as
long as the journal's. The active manager keeps all hashes in memory, read from its mirror.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mgr.store.api import LeaseId, Put, Record
from mgr.store.keys import Keys
from mgr.store.mirror import KeyChange, Mirror

EVICTED_MAX: Final = 300_000
"""Limit of hashes kept, some 20 MB of memory. At the limit new requests with an id are refused:
if an id were forgotten, its request could run twice."""
HASH_BYTES: Final = 8
LOADED_AT_ONCE: Final = 100
"""Records read before the event loop runs other tasks: a few milliseconds."""

log = logging.getLogger(__name__)


class EvictedRequests:
    """All evicted ids, as seen in one term. Follows the mirror from its first use on."""

    def __init__(self, mirror: Mirror, keys: Keys, *, term: int) -> None:
        """Read the records of ``mirror``; new records have ``term`` in their key."""
        self._mirror = mirror
        self._keys = keys
        self._term = term
        self._written = 0
        self._known: set[int] = set()
        self._hashes_of: dict[str, Sequence[int]] = {}
        self._loading = self._load()

    async def load(self) -> None:
        """Read the existing records, a few at a time, so that the first commands do not wait."""
        for count, _ in enumerate(self._loading):
            if count % LOADED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def __contains__(self, request_id: str) -> bool:
        """Return whether the result of ``request_id`` was evicted."""
        return _hash(request_id) in self._all()

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._all())

    @property
    def full(self) -> bool:
        """Whether the limit ``EVICTED_MAX`` is reached."""
        return len(self._all()) >= EVICTED_MAX

    def record(self, request_ids: Iterable[str], lease: LeaseId) -> Put:
        """Return the write to add to the transaction that deletes the results of these ids."""
        self._written += 1
        hashes = array("Q", map(_hash, request_ids))
        key = self._keys.evicted_requests(f"{self._term}-{self._written}")
        return Put(key, b64encode(hashes.tobytes()).decode(), lease)

    def _all(self) -> set[int]:
        for _ in self._loading:
            pass  # read the rest now: an id that is not read yet must not count as unknown
        return self._known

    def _load(self) -> Iterator[None]:
        prefix = self._keys.evicted
        keys = self._mirror.list(prefix)
        # Subscribed before the first record is read: no change between the two is missed.
        self._mirror.subscribe(prefix, self._follow)
        for key in keys:
            # Read again here: the record may have expired since the keys were listed.
            record = self._mirror.get(key)
            if record is not None:
                self._replace(key, _hashes_in(record))
            yield

    def _follow(self, changes: Sequence[KeyChange]) -> None:
        for change in changes:
            self._replace(change.key, _hashes_in(change.record) if change.record else ())

    def _replace(self, key: str, hashes: Sequence[int]) -> None:
        self._known.difference_update(self._hashes_of.pop(key, ()))
        if hashes:
            self._hashes_of[key] = hashes
            self._known.update(hashes)


def _hash(request_id: str) -> int:
    digest = hashlib.blake2b(request_id.encode(), digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest, "little")


def _hashes_in(record: Record) -> Sequence[int]:
    hashes = array("Q")
    try:
        hashes.frombytes(b64decode(record.value, validate=True))
    except ValueError as error:
        log.warning(
            "unreadable record of evicted requests", extra={"key": record.key, "error": str(error)}
        )
    return hashes
