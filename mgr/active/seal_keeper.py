"""Keeps the secrets in etcd sealed: makes data keys, and seals again what an older one sealed."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from mgr.clock import timestamp
from mgr.command.builtin.context import SealStatus
from mgr.errors import ConflictError, NotPermittedError, SealedError, StoreError, TermLostError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import ABSENT, Compare, Created, Delete, Modified, Operation, Put, Record
from mgr.store.fenced import FencedStore
from mgr.store.sealed_store import SealedStore
from mgr.store.sealing import DataKey, new_secret

BATCH_KEYS: Final = 20
BATCH_CHARS: Final = 200_000
PAUSE_S: Final = 0.05
"""Pause between two batches: sealing again must not slow down other writes."""
RETRY_S: Final = 5.0
CHECK_EVERY_S: Final = 60.0
"""How often to look for values that are not sealed: a module may have appeared that marks some."""

log = logging.getLogger(__name__)


class SealKeeper:
    """The data keys of one term, and the background work with them."""

    def __init__(self, manager: WorkerContext, fenced: FencedStore) -> None:
        """Write by ``fenced``."""
        self._manager = manager
        self._fenced = fenced
        self._store = manager.store if isinstance(manager.store, SealedStore) else None
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Make the first data key if there is none, and seal what is not sealed by the newest."""
        store = self._store
        if store is None or not store.seals:
            return
        while True:
            self._wake.clear()
            pause_s = CHECK_EVERY_S
            try:
                if not store.current:
                    await self._make_key(store)
                await self._seal_again(store)
            except TermLostError:
                return
            except StoreError as error:
                log.warning("secrets not sealed again, retrying", extra={"error": str(error)})
                pause_s = RETRY_S
            await self._wait(pause_s)

    async def rotate(self) -> str:
        """Make a new data key; return its id. Everything is sealed under it in the background.

        Raises:
            NotPermittedError: Nothing is sealed here, or the key cannot be wrapped now.
            StoreError: As raised by writes.

        """
        store = self._store
        if store is None or not store.seals:
            raise NotPermittedError("nothing is sealed: set seal_key_file or seal_command")
        try:
            name = await self._make_key(store)
        except SealedError as error:
            raise NotPermittedError(f"no new data key was made: {error}") from None
        self._wake.set()
        return name

    def status(self) -> SealStatus:
        """Return what is sealed by which data key."""
        store = self._store
        if store is None:
            return SealStatus(enabled=False, current="", values={}, unsealed=0)
        secrets = [record.key for record in self._secrets(store)]
        values = Counter(store.sealed_by.values())
        unsealed = sum(key not in store.sealed_by for key in secrets)
        return SealStatus(store.seals, store.current, dict(sorted(values.items())), unsealed)

    # -- inside ---------------------------------------------------------------------------------

    async def _wait(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _make_key(self, store: SealedStore) -> str:
        data_key = DataKey(uuid.uuid4().hex[:12], new_secret())
        record = await store.wrap(data_key, timestamp())
        key = self._manager.keys.seal(data_key.id)
        revision = await self._fenced.commit(
            [Put(key, msgspec.json.encode(record).decode())], [Created(key, ABSENT)]
        )
        store.use(data_key, revision)
        log.info("data key made", extra={"data_key": data_key.id})
        return data_key.id

    async def _seal_again(self, store: SealedStore) -> None:
        current = store.current
        sealed = 0
        outdated = [
            record for record in self._secrets(store) if store.sealed_by.get(record.key) != current
        ]
        for batch in _batches(outdated):
            operations: list[Operation] = [Put(r.key, r.value, r.lease) for r in batch]
            # What was changed meanwhile was sealed by that change.
            when: list[Compare] = [Modified(r.key, r.mod_revision) for r in batch]
            try:
                await self._fenced.commit(operations, when)
            except ConflictError:
                self._wake.set()
            else:
                sealed += len(batch)
            await asyncio.sleep(PAUSE_S)
        if sealed:
            log.info("secrets sealed", extra={"values": sealed, "data_key": current})
        if not outdated:
            await self._delete_unused(store)

    async def _delete_unused(self, store: SealedStore) -> None:
        """Delete the data keys that seal nothing any more, oldest first."""
        keys = self._manager.keys
        used = {store.current, *store.sealed_by.values()}
        for key in self._manager.mirror.list(keys.seals):
            if key.removeprefix(keys.seals) not in used:
                await self._fenced.commit([Delete(key)])

    def _secrets(self, store: SealedStore) -> Iterator[Record]:
        keys = self._manager.keys
        for prefix in (keys.config, keys.changes, keys.kv):
            for record in self._manager.mirror.list(prefix).values():
                if store.is_secret(record.key) or record.key in store.sealed_by:
                    yield record


def _batches(records: list[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    chars = 0
    for record in records:
        if batch and (len(batch) == BATCH_KEYS or chars + len(record.value) > BATCH_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append(record)
        chars += len(record.value)
    if batch:
        yield batch
