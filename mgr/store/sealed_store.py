"""A store that seals secret values on the way in and opens them on the way out.

Everything above it sees plain values: the mirror, options, modules, the history. So nothing else
has to know about sealing, and no value can be forgotten on one of many paths.

A value that cannot be opened now, because its data key cannot be unwrapped, is never shown as
something else. The feed waits and tries again, so that the mirror is not current, and a worker
without a current mirror is no warm standby: a manager that lacks the wrapping key cannot lead
(docs/adr/0055). With ``skip_unreadable`` such values are left out instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Final

from mgr.errors import SealedError, StoreUnavailableError
from mgr.store.api import (
    ABSENT,
    Changed,
    Compare,
    FeedEvent,
    LeaseGrant,
    LeaseId,
    Listed,
    Listing,
    Operation,
    Outcome,
    Page,
    Put,
    Record,
    Revision,
    Store,
    StoreMember,
    StoreStatus,
)
from mgr.store.key_wrapping import KeyWrapper
from mgr.store.keys import Keys
from mgr.store.limits import check_commit, encoded_key
from mgr.store.sealing import (
    ESCAPED,
    MARK,
    SEALED,
    DataKey,
    StoredDataKey,
    data_key_of,
    decode_data_key,
)

RETRY_S: Final = 1.0
FIRST_KEY_S: Final = 5.0
"""How long a write of a secret waits for the first data key to be made."""

log = logging.getLogger(__name__)

IsSecret = Callable[[str], bool]
"""Returns whether the value at an etcd key is to be sealed."""


def nothing_is_secret(_key: str) -> bool:
    """Return False."""
    return False


class SealedStore:
    """Implements ``Store`` on top of another one. Without a ``wrapper`` it seals nothing.

    Attributes:
        is_secret: Which values are sealed. Set it once the options and modules are known.
        sealed_by: The data key of each sealed value that the feed has delivered, by etcd key.

    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        wrapper: KeyWrapper | None = None,
        *,
        skip_unreadable: bool = False,
    ) -> None:
        """Seal with data keys that ``wrapper`` unwraps."""
        self.is_secret: IsSecret = nothing_is_secret
        self.sealed_by: dict[str, str] = {}
        self._store = store
        self._keys = keys
        self._wrapper = wrapper
        self._skip_unreadable = skip_unreadable
        self._data_keys: dict[str, DataKey] = {}
        self._current: tuple[Revision, str] = (ABSENT, "")
        self._has_current = asyncio.Event()

    # -- data keys ------------------------------------------------------------------------------

    @property
    def seals(self) -> bool:
        """Whether secret values are sealed."""
        return self._wrapper is not None

    @property
    def current(self) -> str:
        """The id of the newest data key, which seals; empty if there is none yet."""
        return self._current[1]

    async def wrap(self, data_key: DataKey, made: str) -> StoredDataKey:
        """Return the record of a new data key, for ``seals/<id>``.

        Raises:
            SealedError: It cannot be wrapped.

        """
        if self._wrapper is None:
            raise SealedError("nothing is sealed here: set seal_key_file or seal_command")
        wrapped = await self._wrapper.wrap(data_key.id, data_key.secret)
        # Before anything is sealed under it: whether it can be unwrapped again.
        if await self._wrapper.unwrap(data_key.id, wrapped) != data_key.secret:
            raise SealedError("the wrapped data key does not unwrap to itself: it is not used")
        return StoredDataKey(wrapped=wrapped, made=made)

    def use(self, data_key: DataKey, revision: Revision) -> None:
        """Seal with ``data_key`` from now on; its record was written at ``revision``."""
        self._data_keys[data_key.id] = data_key
        self._note_current(data_key.id, revision)

    # -- reading --------------------------------------------------------------------------------

    async def get(self, key: str, *, timeout_s: float | None = None) -> Record | None:
        """See ``Store``; a value that cannot be opened is a ``StoreUnavailableError``."""
        record = await self._store.get(key, timeout_s=timeout_s)
        return None if record is None else await self._opened_or_fail(record)

    async def list(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """See ``Store``; a value that cannot be opened is a ``StoreUnavailableError``."""
        listing = await self._store.list(prefix, timeout_s=timeout_s)
        opened = [await self._opened_or_fail(record) for record in listing.records]
        return replace(listing, records=tuple(each for each in opened if each is not None))

    async def page(
        self,
        prefix: str,
        *,
        after: str = "",
        at: Revision = ABSENT,
        chars_max: int,
        timeout_s: float | None = None,
    ) -> Page:
        """See ``Store``: it opens nothing."""
        return await self._store.page(
            prefix, after=after, at=at, chars_max=chars_max, timeout_s=timeout_s
        )

    def follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        """See ``Store``; the feed waits while a value cannot be opened."""
        encoded_key(prefix)
        return self._follow(prefix)

    async def _follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        async with contextlib.aclosing(self._store.follow(prefix)) as feed:
            async for event in feed:
                yield await self._opened_event(event)

    async def _opened_event(self, event: FeedEvent) -> FeedEvent:
        if isinstance(event, Listed):
            self.sealed_by.clear()
            records = await self._opened_records(event.records)
            return replace(event, records=tuple(records))
        if isinstance(event, Changed):
            for key in event.deleted:
                self.sealed_by.pop(key, None)
            put = tuple(await self._opened_records(event.put))
            if len(put) < len(event.put) and self._skip_unreadable:
                # The value before is not valid any more either.
                skipped = {record.key for record in event.put} - {record.key for record in put}
                return replace(event, put=put, deleted=(*event.deleted, *sorted(skipped)))
            return replace(event, put=put)
        return event

    async def _opened_records(self, records: Sequence[Record]) -> Sequence[Record]:
        for record in records:
            if record.key.startswith(self._keys.seals):
                self._note_current(record.key.removeprefix(self._keys.seals), record.mod_revision)
        if not any(record.value.startswith(MARK) for record in records):
            for record in records:
                self.sealed_by.pop(record.key, None)
            return records
        return [each for each in [await self._followed(r) for r in records] if each is not None]

    async def _followed(self, record: Record) -> Record | None:
        """Return ``record``, opened; None if its data key is gone, or it is to be skipped."""
        if not record.value.startswith(SEALED):
            self.sealed_by.pop(record.key, None)
            return _unescaped(record)
        logged = False
        while True:
            try:
                opened = await self._opened(record)
            except (SealedError, StoreUnavailableError) as error:
                if not logged:
                    log.error(  # noqa: TRY400 - the message says it all
                        "sealed value cannot be opened",
                        extra={"key": record.key, "why": str(error)},
                    )
                    logged = True
                if self._skip_unreadable:
                    return None
                await asyncio.sleep(RETRY_S)
            else:
                if opened is not None:
                    self.sealed_by[record.key] = data_key_of(record.value)
                return opened

    async def _opened_or_fail(self, record: Record) -> Record | None:
        if not record.value.startswith(SEALED):
            return _unescaped(record)
        try:
            return await self._opened(record)
        except SealedError as error:
            if self._skip_unreadable:
                return None
            raise StoreUnavailableError(str(error)) from error

    async def _opened(self, record: Record) -> Record | None:
        """Return ``record`` with its value opened; None if its data key does not exist any more.

        A data key is deleted only when no value needs it, so the value is an old one: a newer one
        is on its way.
        """
        name = data_key_of(record.value)
        data_key = self._data_keys.get(name)
        if data_key is None:
            if self._wrapper is None:
                raise SealedError(
                    f"{record.key!r} is sealed: set seal_key_file or seal_command as on the "
                    "managers that sealed it"
                )
            stored = await self._store.get(self._keys.seal(name))
            if stored is None:
                return None
            wrapped = decode_data_key(stored.value).wrapped
            data_key = DataKey(name, await self._wrapper.unwrap(name, wrapped))
            self._data_keys[name] = data_key
        return replace(record, value=data_key.open(record.key, record.value))

    def _note_current(self, name: str, revision: Revision) -> None:
        if revision > self._current[0]:
            self._current = (revision, name)
            self._has_current.set()

    # -- writing --------------------------------------------------------------------------------

    async def commit(
        self,
        operations: Sequence[Operation],
        *,
        when: Sequence[Compare] = (),
        then_get: Sequence[str] = (),
        otherwise_get: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Outcome:
        """See ``Store``; secret values are sealed.

        Raises:
            StoreUnavailableError: A secret value cannot be sealed now; nothing was sent.

        """
        if self._wrapper is not None and any(self._is_sealed(each) for each in operations):
            # Sealing takes what any store would refuse: it is refused by the same message.
            check_commit(operations, when, then_get, otherwise_get)
        stored = [await self._stored(each) for each in operations]
        outcome = await self._store.commit(
            stored,
            when=when,
            then_get=then_get,
            otherwise_get=otherwise_get,
            timeout_s=timeout_s,
        )
        if outcome.succeeded:
            for operation in stored:
                if not isinstance(operation, Put):
                    continue
                if name := data_key_of(operation.value):
                    self.sealed_by[operation.key] = name
                else:
                    self.sealed_by.pop(operation.key, None)
        if not outcome.found:
            return outcome
        found = [
            None if record is None else await self._opened_or_fail(record)
            for record in outcome.found
        ]
        return replace(outcome, found=tuple(found))

    def _is_sealed(self, operation: Operation) -> bool:
        return isinstance(operation, Put) and self.is_secret(operation.key)

    async def _stored(self, operation: Operation) -> Operation:
        if not isinstance(operation, Put):
            return operation
        if self._wrapper is not None and self._is_sealed(operation):
            data_key = await self._sealing_key()
            return replace(operation, value=data_key.seal(operation.key, operation.value))
        if operation.value.startswith(MARK):
            return replace(operation, value=f"{ESCAPED}{operation.value}")
        return operation

    async def _sealing_key(self) -> DataKey:
        try:
            async with asyncio.timeout(FIRST_KEY_S):
                await self._has_current.wait()
        except TimeoutError:
            raise StoreUnavailableError(
                "secrets cannot be stored: an active has to make the first data key"
            ) from None
        name = self.current
        if name not in self._data_keys:
            stored = await self._store.get(self._keys.seal(name))
            if stored is None or self._wrapper is None:
                raise StoreUnavailableError(f"secrets cannot be stored: data key {name} is gone")
            try:
                wrapped = decode_data_key(stored.value).wrapped
                secret = await self._wrapper.unwrap(name, wrapped)
            except SealedError as error:
                raise StoreUnavailableError(f"secrets cannot be stored: {error}") from error
            self._data_keys[name] = DataKey(name, secret)
        return self._data_keys[name]

    # -- everything else ------------------------------------------------------------------------

    async def create(
        self, key: str, value: str, *, lease: LeaseId, timeout_s: float | None = None
    ) -> Revision | None:
        """See ``Store``; used for the leader key, which is no secret."""
        return await self._store.create(key, value, lease=lease, timeout_s=timeout_s)

    async def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> LeaseGrant:
        """See ``Store``."""
        return await self._store.grant(ttl_s, timeout_s=timeout_s)

    async def renew(self, lease: LeaseId, *, timeout_s: float | None = None) -> float:
        """See ``Store``."""
        return await self._store.renew(lease, timeout_s=timeout_s)

    async def revoke(self, lease: LeaseId, *, timeout_s: float | None = None) -> None:
        """See ``Store``."""
        await self._store.revoke(lease, timeout_s=timeout_s)

    async def status(self, *, timeout_s: float | None = None) -> StoreStatus:
        """See ``Store``."""
        return await self._store.status(timeout_s=timeout_s)

    async def members(self, *, timeout_s: float) -> Sequence[StoreMember]:
        """See ``Store``."""
        return await self._store.members(timeout_s=timeout_s)

    async def close(self) -> None:
        """See ``Store``."""
        await self._store.close()


def _unescaped(record: Record) -> Record:
    if record.value.startswith(ESCAPED):
        return replace(record, value=record.value.removeprefix(ESCAPED))
    return record
