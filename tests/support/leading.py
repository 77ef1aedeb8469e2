"""A manager's term over a store in memory, with a real mirror and real fenced writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from mgr.access.table import Access
from mgr.host.cluster_view import ClusterView
from mgr.store.api import LeaseId, Revision
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from tests.support.clock import ManualClock

LEASE_TTL_S = 5


@dataclass
class LeadingTerm:
    """One term: what the active manager's parts are given."""

    store: MemoryStore
    keys: Keys
    clock: ManualClock
    mirror: Mirror
    fenced: FencedStore
    term: Revision
    lease: LeaseId
    tasks: asyncio.TaskGroup

    def __post_init__(self) -> None:
        """Follow who may do what."""
        self.view = ClusterView(self.mirror, self.keys, self.clock, LEASE_TTL_S)

    @property
    def access(self) -> Access:
        """Who may do what, as this term's mirror shows it."""
        return self.view.access

    async def depose(self) -> Revision:
        """Let another manager take over, behind this one's back; the new term."""
        await self.store.revoke(self.lease)
        grant = await self.store.grant(LEASE_TTL_S)
        term = await self.store.create(self.keys.leader, "b", lease=grant.lease)
        assert term is not None
        return term

    async def succeed(self) -> LeadingTerm:
        """End this term and begin the next one on the same store, with a mirror of its own."""
        return await lead(self.store, self.clock, self.tasks, after=self)


@contextlib.asynccontextmanager
async def leading(store=None, clock: ManualClock | None = None) -> AsyncIterator[LeadingTerm]:
    """Lead for as long as the context lasts; ``store`` may wrap a ``MemoryStore``."""
    clock = clock or ManualClock()
    before = asyncio.all_tasks()
    async with asyncio.TaskGroup() as tasks:
        leading_term = await lead(store or MemoryStore(clock), clock, tasks)
        try:
            yield leading_term
        finally:
            # Mirrors follow for ever, and a command of a test may wait for ever on purpose.
            for task in asyncio.all_tasks() - before:
                task.cancel()


async def lead(store, clock, tasks, after: LeadingTerm | None = None) -> LeadingTerm:
    """Begin a term; its mirror runs in ``tasks``."""
    if after is not None:
        await store.revoke(after.lease)
    keys = Keys("test")
    mirror = Mirror(store, keys.root, clock)
    tasks.create_task(mirror.run())
    lease = (await store.grant(LEASE_TTL_S)).lease
    term = await store.create(keys.leader, "a", lease=lease)
    await mirror.wait_for_revision(term, 1)
    fenced = FencedStore(store, keys, term, mirror=mirror)
    return LeadingTerm(store, keys, clock, mirror, fenced, term, lease, tasks)
