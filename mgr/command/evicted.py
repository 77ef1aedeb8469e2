"""Ids of requests whose results were evicted before their time: known, so never run again.

A result that has to make room leaves the 64-bit hash of its id behind. Many hashes are packed into
one record, written in the transaction that deletes the results, on a lease of at least the
journal's. Every active keeps all of them in memory, as its mirror shows them.
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
"""Hashes kept, some 20 MB of memory. More, and new requests with an id are refused: to forget an
id would be to let its request run twice."""
HASH_BYTES: Final = 8
LOADED_AT_ONCE: Final = 100
"""Records read between two turns of the loop: a few milliseconds."""

log = logging.getLogger(__name__)


class EvictedRequests:
    """The ids of one term. Follows the mirror from its first use on."""

    def __init__(self, mirror: Mirror, keys: Keys, *, term: int) -> None:
        """Read what ``mirror`` shows; name new records by ``term``."""
        self._mirror = mirror
        self._keys = keys
        self._term = term
        self._written = 0
        self._known: set[int] = set()
        self._hashes_of: dict[str, Sequence[int]] = {}
        self._loading = self._load()

    async def load(self) -> None:
        """Read what there is, a few records at a time: a first command is not to wait for it."""
        for count, _ in enumerate(self._loading):
            if count % LOADED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def __contains__(self, request_id: str) -> bool:
        """Whether the result of ``request_id`` was evicted."""
        return _hash(request_id) in self._all()

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self._all())

    @property
    def full(self) -> bool:
        """Whether there is no room for more."""
        return len(self._all()) >= EVICTED_MAX

    def record(self, request_ids: Iterable[str], lease: LeaseId) -> Put:
        """What to write in the transaction that deletes the results of ``request_ids``."""
        self._written += 1
        hashes = array("Q", map(_hash, request_ids))
        key = self._keys.evicted_requests(f"{self._term}-{self._written}")
        return Put(key, b64encode(hashes.tobytes()).decode(), lease)

    def _all(self) -> set[int]:
        for _ in self._loading:
            pass  # what is left: an id must not be missed because it is not read yet
        return self._known

    def _load(self) -> Iterator[None]:
        prefix = self._keys.evicted
        found = self._mirror.list(prefix)
        self._mirror.subscribe(prefix, self._follow)
        for key in found:
            # As it is by now: it may have expired since.
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
        log.warning("unreadable record", extra={"key": record.key, "error": str(error)})
    return hashes
