"""The store in memory, on any clock: for tests, simulations and first experiments.

No method waits: it is done before anything else runs on the loop, so a simulation on a manual clock
is reproducible. Leases end by the clock. If the clock reports its moves (``on_advance``) they end
at that moment; otherwise with the next call or, if a feed is open, at most a second later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from mgr.clock import Clock
from mgr.errors import ConflictError, LeaseExpiredError, StoreUnavailableError
from mgr.store.api import (
    ABSENT,
    NO_LEASE,
    Changed,
    Compare,
    Created,
    Current,
    Delete,
    DeletePrefix,
    FeedEvent,
    Interrupted,
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
    StoreMember,
    StoreStatus,
)
from mgr.store.limits import check_commit, encoded_key, first_page
from mgr.waiting import wait

VERSION: Final = "3.6.99"
"""The version that ``status`` returns: an etcd without known defects."""
TTL_FLOOR_S: Final = 2
"""Shortest lease, as in an etcd with default timing."""
CURRENT_EVERY_S: Final = 1.0
PENDING_MAX: Final = 1000
"""Most events that a feed buffers for a slow reader; then one ``Listed`` replaces them all."""


@runtime_checkable
class MovedClock(Protocol):
    """A clock that is moved by hand and reports each move."""

    def on_advance(self, call: Callable[[], None]) -> None:
        """Call ``call`` after every move."""
        ...


@dataclass(slots=True)
class _Lease:
    ttl_s: int
    ends_at: float


@dataclass(slots=True)
class _Feed:
    prefix: str
    position: Revision
    last_sent_at: float
    pending: deque[FeedEvent] = field(default_factory=deque)
    missed: list[Changed] = field(default_factory=list)
    cut: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, event: FeedEvent) -> None:
        self.pending.append(event)
        self.wake.set()


class MemoryStore:
    """Implements ``mgr.store.api.Store``. All users of the same data share one instance."""

    def __init__(self, clock: Clock) -> None:
        self.cluster_id = 1
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._leases: dict[LeaseId, _Lease] = {}
        self._leases_granted = 0
        self._revision = Revision(1)
        self._compacted = Revision(0)
        self._feeds: list[_Feed] = []
        self._closed = False
        if isinstance(clock, MovedClock):
            clock.on_advance(self.tick)

    # -- the store's interface ----------------------------------------------------------------

    async def get(self, key: str, *, timeout_s: float | None = None) -> Record | None:
        """See ``Store.get``."""
        encoded_key(key)
        self._begin(timeout_s)
        return self._records.get(key)

    async def list(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """See ``Store.list``."""
        encoded_key(prefix)
        self._begin(timeout_s)
        return Listing(self._matching(prefix), self._revision)

    async def page(
        self,
        prefix: str,
        *,
        after: str = "",
        at: Revision = ABSENT,
        chars_max: int,
        timeout_s: float | None = None,
    ) -> Page:
        """See ``Store.page``. It keeps no earlier revisions: only unchanged data can be read."""
        encoded_key(prefix)
        self._begin(timeout_s)
        if at > self._revision or (at and self._changed_after(at, prefix)):
            raise ConflictError(f"revision {at} cannot be read: the present one is another")
        found = [record for record in self._matching(prefix) if record.key > after]
        return first_page(found, chars_max, more=False)

    async def commit(
        self,
        operations: Sequence[Operation],
        *,
        when: Sequence[Compare] = (),
        then_get: Sequence[str] = (),
        otherwise_get: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Outcome:
        """See ``Store.commit``."""
        check_commit(operations, when, then_get, otherwise_get)
        self._begin(timeout_s)
        if not all(self._holds(compare) for compare in when):
            found = tuple(self._records.get(key) for key in otherwise_get)
            return Outcome(succeeded=False, revision=self._revision, found=found)
        for operation in operations:
            if isinstance(operation, Put) and operation.lease != NO_LEASE:
                self._lease(operation.lease, f"put {operation.key!r}")
        self._apply(operations)
        found = tuple(self._records.get(key) for key in then_get)
        return Outcome(succeeded=True, revision=self._revision, found=found)

    async def create(
        self, key: str, value: str, *, lease: LeaseId, timeout_s: float | None = None
    ) -> Revision | None:
        """See ``Store.create``."""
        outcome = await self.commit(
            (Put(key, value, lease),),
            when=(Created(key, ABSENT),),
            otherwise_get=(key,),
            timeout_s=timeout_s,
        )
        if outcome.succeeded:
            return outcome.revision
        [holder] = outcome.found
        return holder.create_revision if holder and holder.lease == lease else None

    async def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> LeaseGrant:
        """See ``Store.grant``."""
        self._begin(timeout_s)
        ttl_s = max(ttl_s, TTL_FLOOR_S)
        self._leases_granted += 1
        lease = LeaseId(self._leases_granted)
        self._leases[lease] = _Lease(ttl_s, self._clock.now() + ttl_s)
        return LeaseGrant(lease, float(ttl_s))

    async def renew(self, lease: LeaseId, *, timeout_s: float | None = None) -> float:
        """See ``Store.renew``."""
        self._begin(timeout_s)
        known = self._lease(lease, "renew")
        known.ends_at = self._clock.now() + known.ttl_s
        return float(known.ttl_s)

    async def revoke(self, lease: LeaseId, *, timeout_s: float | None = None) -> None:
        """See ``Store.revoke``."""
        self._begin(timeout_s)
        self._end_lease(lease)

    def follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        """See ``Store.follow``."""
        encoded_key(prefix)
        return self._follow(prefix)

    async def status(self, *, timeout_s: float | None = None) -> StoreStatus:
        """See ``Store.status``."""
        self._begin(timeout_s)
        return StoreStatus(VERSION, self.cluster_id, self._revision)

    async def members(self, *, timeout_s: float) -> Sequence[StoreMember]:
        """See ``Store.members``: one server, always reachable."""
        self._begin(timeout_s)
        return [StoreMember("memory", reachable=True, version=VERSION, leader=True)]

    async def close(self) -> None:
        """See ``Store.close``."""
        self._closed = True
        for feed in self._feeds:
            feed.wake.set()

    # -- for tests only: time and faults --------------------------------------------------------

    def tick(self) -> None:
        """End expired leases, and send ``Current`` to feeds that got no event for a second.

        Called by every method, and by a clock that reports its moves.
        """
        now = self._clock.now()
        for lease in [lease for lease, granted in self._leases.items() if granted.ends_at <= now]:
            self._end_lease(lease)
        for feed in self._feeds:
            if not feed.cut and now - feed.last_sent_at >= CURRENT_EVERY_S:
                self._send_current(feed)

    def break_feeds(self, why: str = "the feed was broken on purpose") -> None:
        """Interrupt every feed and resume it at once; no change is lost."""
        self.cut_feeds(why)
        self.mend_feeds()

    def cut_feeds(self, why: str = "the feed was cut on purpose") -> None:
        """Interrupt every feed until ``mend_feeds``."""
        for feed in self._feeds:
            if not feed.cut:
                feed.cut = True
                feed.offer(Interrupted(why))

    def mend_feeds(self) -> None:
        """Resume cut feeds with the missed changes, or with ``Listed`` if those were compacted."""
        for feed in self._feeds:
            if feed.cut:
                feed.cut = False
                missed, feed.missed = feed.missed, []
                if missed and missed[0].revision <= self._compacted:
                    self._relist(feed)
                for changed in missed if missed and missed[0].revision > self._compacted else ():
                    self._send_changed(feed, changed)
                self._send_current(feed)

    def compact(self) -> None:
        """Compact the history: a feed that missed a change cannot get it any more."""
        self._compacted = self._revision

    # -- inside ---------------------------------------------------------------------------------

    def _begin(self, timeout_s: float | None) -> None:
        if self._closed:
            raise StoreUnavailableError("the store was closed")
        if timeout_s is not None and timeout_s <= 0:
            raise StoreUnavailableError(f"no answer within {timeout_s} s")
        self.tick()

    async def _follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        if self._closed:
            return
        self.tick()
        feed = _Feed(prefix, self._revision, self._clock.now())
        feed.offer(self._listed(prefix))
        self._feeds.append(feed)
        try:
            while not self._closed:
                feed.wake.clear()
                while feed.pending:
                    yield feed.pending.popleft()
                # A second of real time: needed only for a clock that does not report its moves.
                await wait(feed.wake, CURRENT_EVERY_S)
                self.tick()
        finally:
            self._feeds.remove(feed)

    def _changed_after(self, revision: Revision, prefix: str) -> bool:
        return self._revision > revision and any(
            record.mod_revision > revision for record in self._matching(prefix)
        )

    def _matching(self, prefix: str) -> tuple[Record, ...]:
        return tuple(self._records[key] for key in sorted(self._records) if key.startswith(prefix))

    def _holds(self, compare: Compare) -> bool:
        record = self._records.get(compare.key)
        if record is None:
            return compare.revision == ABSENT
        actual = record.create_revision if isinstance(compare, Created) else record.mod_revision
        return actual == compare.revision

    def _lease(self, lease: LeaseId, purpose: str) -> _Lease:
        try:
            return self._leases[lease]
        except KeyError:
            raise LeaseExpiredError(f"{purpose}: lease {lease:x} is gone") from None

    def _end_lease(self, lease: LeaseId) -> None:
        if self._leases.pop(lease, None) is not None:
            keys = [record.key for record in self._records.values() if record.lease == lease]
            self._apply([Delete(key) for key in keys])

    def _apply(self, operations: Iterable[Operation]) -> None:
        """Do all ``operations`` at one new revision if they change anything; notify the feeds."""
        revision = Revision(self._revision + 1)
        changes: dict[str, Record | None] = {}
        for operation in operations:
            if isinstance(operation, Put):
                before = self._records.get(operation.key)
                made = before.create_revision if before else revision
                changes[operation.key] = Record(
                    operation.key, operation.value, made, revision, operation.lease
                )
            else:
                changes |= dict.fromkeys(self._keys_to_delete(operation))
        if not changes:
            return
        self._revision = revision
        for key, record in changes.items():
            if record is None:
                del self._records[key]
            else:
                self._records[key] = record
        for feed in self._feeds:
            self._report(feed, changes)

    def _keys_to_delete(self, operation: Delete | DeletePrefix) -> Sequence[str]:
        if isinstance(operation, Delete):
            return (operation.key,) if operation.key in self._records else ()
        return [key for key in self._records if key.startswith(operation.prefix)]

    def _report(self, feed: _Feed, changes: dict[str, Record | None]) -> None:
        seen = {key: changes[key] for key in sorted(changes) if key.startswith(feed.prefix)}
        if not seen:
            return
        changed = Changed(
            put=tuple(record for record in seen.values() if record is not None),
            deleted=tuple(key for key, record in seen.items() if record is None),
            revision=self._revision,
        )
        if feed.cut:
            feed.missed.append(changed)
        elif len(feed.pending) >= PENDING_MAX:
            self._relist(feed)
        else:
            self._send_changed(feed, changed)

    def _send_changed(self, feed: _Feed, changed: Changed) -> None:
        feed.position = changed.revision
        feed.offer(changed)

    def _send_current(self, feed: _Feed) -> None:
        feed.last_sent_at = self._clock.now()
        feed.offer(Current(feed.position))

    def _relist(self, feed: _Feed) -> None:
        feed.pending.clear()
        feed.position = self._revision
        feed.offer(self._listed(feed.prefix))

    def _listed(self, prefix: str) -> Listed:
        return Listed(self._matching(prefix), self._revision, self._clock.now())
