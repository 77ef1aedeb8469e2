"""Stores a module's database in etcd: as pages, and a head record that lists them.

A page is written once, under a name that is never used again, and belongs to the database only
when the head lists it. The head is one record, so replacing it switches to the new database
atomically. An interrupted write leaves pages that no head lists; the next change removes them.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from mgr.errors import ConflictError, TooLargeError
from mgr.store.api import (
    ABSENT,
    UNREADABLE,
    Delete,
    Modified,
    Operation,
    Put,
    Record,
    Revision,
    Store,
)
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys

PAGE_BYTES: Final = 65_536
"""Size of a page. It is SQLite's page size too, so that a change of one changes only one here."""
IMAGE_BYTES_MAX: Final = 32 << 20
STORED_BYTES_MAX: Final = 8 << 20
"""Limit for the compressed database, which is in etcd and in the memory of every manager."""
BATCH_BYTES: Final = 1 << 20
BATCH_OPERATIONS: Final = 100
"""Limits of one transaction: below the store's, with room for the comparisons."""


class DatabasePage(msgspec.Struct, frozen=True, array_like=True):
    """An entry of the head: the page's name, digest, and length as stored."""

    name: str
    digest: str
    bytes: int


class Head(msgspec.Struct, frozen=True):
    """The value of the head record: the length of the database, and its pages in order."""

    size: int
    pages: list[DatabasePage]


@dataclass(frozen=True, slots=True)
class DatabaseChange:
    """The pages to write and remove so that the stored database equals the new image."""

    head: Head
    pages: Sequence[Put]
    unused: Sequence[str]


class Database:
    """One module's database. ``load`` it first; then ``change`` and ``write`` in turn."""

    def __init__(self, fenced: FencedStore, store: Store, keys: Keys, module: str) -> None:
        """Store the database of ``module``."""
        self._fenced = fenced
        self._store = store
        self._keys = keys
        self._module = module
        self._head = Head(0, [])
        self._revision: Revision = ABSENT
        self._orphans: frozenset[str] = frozenset()
        # Unique for each instance of a module, also within one term: a page is never overwritten.
        self._name_prefix = f"{fenced.term}.{secrets.token_hex(4)}"
        self._write_number = 0

    async def load(self) -> bytes:
        """Read the stored database; empty if there is none.

        Reads from the store, not from the mirror, which may lag after a write with an unknown
        outcome.

        Raises:
            StoreUnavailableError: The store does not answer.
            ValueError: A page cannot be read; the message names it. Nothing is overwritten.

        """
        listing = await self._store.list(self._keys.database(self._module))
        records = {record.key: record for record in listing.records}
        record = records.pop(self._keys.database_head(self._module), None)
        head = _decode(record) if record else Head(0, [])
        image = b"".join(self._page(page, records) for page in head.pages)
        if len(image) != head.size:
            raise ValueError(f"{self._what}: {len(image)} bytes are stored, not {head.size}")
        self._head = head
        self._revision = record.mod_revision if record else ABSENT
        self._orphans = frozenset(records.keys() - {self._key(page) for page in head.pages})
        return image

    def change(self, image: bytes) -> DatabaseChange:
        """Return the writes that store ``image``. Computes for long; does not use the store.

        Raises:
            TooLargeError: It exceeds one of the two limits; the message names it.

        """
        if len(image) > IMAGE_BYTES_MAX:
            raise TooLargeError(
                f"{self._what} has {len(image)} bytes; the limit is {IMAGE_BYTES_MAX}"
            )
        self._write_number += 1
        pages: list[DatabasePage] = []
        puts: list[Put] = []
        for index in range(0, len(image), PAGE_BYTES):
            content = image[index : index + PAGE_BYTES]
            number = index // PAGE_BYTES
            digest = _digest(content)
            before = self._head.pages[number] if number < len(self._head.pages) else None
            if before is not None and before.digest == digest:
                pages.append(before)
                continue
            value = base64.b64encode(zlib.compress(content)).decode()
            page = DatabasePage(
                f"{self._name_prefix}.{self._write_number}.{number}", digest, len(value)
            )
            pages.append(page)
            puts.append(Put(self._key(page), value))
        self._check(sum(page.bytes for page in pages))
        used = {page.name for page in pages}
        unused = [self._key(page) for page in self._head.pages if page.name not in used]
        return DatabaseChange(Head(len(image), pages), puts, [*unused, *sorted(self._orphans)])

    async def write(self, change: DatabaseChange) -> None:
        """Store the change, atomically.

        Raises:
            ConflictError: The stored database is not the one that was loaded. Nothing changed.
            FencedError: The term is over. Nothing changed.
            OutcomeUnknownError: It is unknown whether it was stored: call ``load``.
            StoreUnavailableError: Nothing changed.

        """
        head = Put(
            self._keys.database_head(self._module), msgspec.json.encode(change.head).decode()
        )
        *first, last = _batches(change.pages)
        for batch in first:
            # No transaction over all batches is needed: pages have no effect before the head
            # lists them.
            await self._fenced.commit(batch)
        room = BATCH_OPERATIONS - len(last)
        removed, left = change.unused[:room], change.unused[room:]
        removals: list[Operation] = [Delete(key) for key in removed]
        unchanged = Modified(head.key, self._revision)
        try:
            self._revision = await self._fenced.commit([*last, head, *removals], (unchanged,))
        except ConflictError:
            raise ConflictError(f"{self._what} was changed by another instance") from None
        self._head = change.head
        self._orphans = frozenset(left)

    @property
    def _what(self) -> str:
        return f"the database of module {self._module!r}"

    def _key(self, page: DatabasePage) -> str:
        return self._keys.database_page(self._module, page.name)

    def _page(self, page: DatabasePage, records: dict[str, Record]) -> bytes:
        record = records.get(self._key(page))
        if record is None:
            raise ValueError(f"{self._what}: page {page.name} is missing")
        content = zlib.decompress(base64.b64decode(record.value))
        if _digest(content) != page.digest:
            raise ValueError(f"{self._what}: page {page.name} is damaged")
        return content

    def _check(self, stored: int) -> None:
        if stored > STORED_BYTES_MAX:
            raise TooLargeError(
                f"{self._what} takes {stored} bytes, compressed; the limit is {STORED_BYTES_MAX}"
            )


def _batches(pages: Sequence[Put]) -> Iterator[list[Operation]]:
    """Split ``pages`` into batches; the last one has room for the head and may be empty."""
    batch: list[Operation] = []
    size = 0
    for put in pages:
        if batch and (size + len(put.value) > BATCH_BYTES or len(batch) >= BATCH_OPERATIONS // 2):
            yield batch
            batch, size = [], 0
        batch.append(put)
        size += len(put.value)
    yield batch


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _decode(record: Record) -> Head:
    try:
        return msgspec.json.decode(record.value, type=Head)
    except UNREADABLE as error:
        raise ValueError(f"{record.key} cannot be read: {error}") from None
