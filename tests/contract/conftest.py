"""Every store that makes the promises of ``mgr.store.api``, with the same handles to shake it."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from mgr.config.kv import ENTRY_BYTES_CEILING
from mgr.store import etcd3_stubs
from mgr.store.api import VALUE_BYTES_MAX
from mgr.store.endpoint import Request
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.sealed_store import SealedStore
from mgr.store.sealing import DataKey
from tests.support.clock import ManualClock
from tests.support.faults.proxy import Mode, Proxy

COMPACT = etcd3_stubs.method("KV", "Compact")


class MemoryHarness:
    """The dictionary, on a clock that a test moves."""

    value_bytes_max = VALUE_BYTES_MAX

    def __init__(self):
        self.clock = ManualClock()
        self.store = self.other = MemoryStore(self.clock)
        self.prefix = "/contract/"

    async def let_pass(self, seconds):
        """Let time pass, in no time."""
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
            await asyncio.sleep(0)

    async def cut(self):
        """Interrupt feeds."""
        self.store.cut_feeds()

    async def mend(self):
        """Let feeds go on."""
        self.store.mend_feeds()

    async def compact(self):
        """Forget history."""
        self.store.compact()


class SealedHarness(MemoryHarness):
    """The dictionary below sealing: every value is sealed, and nobody above sees it."""

    value_bytes_max = ENTRY_BYTES_CEILING
    """A sealed value takes 4/3 of its size; this much must fit."""

    def __init__(self):
        super().__init__()
        self.memory = self.store
        self.store = self.other = SealedStore(self.memory, Keys("contract"), NoWrapping())
        self.store.is_secret = lambda _key: True
        self.store.use(DataKey("k", bytes(32)), 1)

    async def cut(self):
        """Interrupt feeds."""
        self.memory.cut_feeds()

    async def mend(self):
        """Let feeds go on."""
        self.memory.mend_feeds()

    async def compact(self):
        """Forget history."""
        self.memory.compact()


class NoWrapping:
    """There is one data key, and it is known."""


class EtcdHarness:
    """A real etcd, reached through a proxy (``store``) and directly (``other``)."""

    value_bytes_max = VALUE_BYTES_MAX

    def __init__(self, store, other, proxy):
        self.store = store
        self.other = other
        self.prefix = f"/contract/{uuid.uuid4().hex}/"
        self._proxy = proxy

    async def let_pass(self, seconds):
        """Let time pass, by waiting."""
        await asyncio.sleep(seconds)

    async def cut(self):
        """Interrupt feeds, and everything else of ``store``."""
        self._proxy.mode = Mode.REFUSE
        self._proxy.reset()

    async def mend(self):
        """Let connections stand again."""
        self._proxy.mode = Mode.PASS

    async def compact(self):
        """Forget history."""
        status = await self.other.status()
        message = COMPACT.request(revision=status.revision)
        await self.other._channel.ask(Request(COMPACT, message, "compact"), timeout_s=2)


@pytest.fixture
async def memory_harness():
    harness = MemoryHarness()
    yield harness
    await harness.store.close()


@pytest.fixture
async def sealed_harness():
    harness = SealedHarness()
    yield harness
    await harness.store.close()


@pytest.fixture
async def etcd_harness(etcd):
    async with Proxy(etcd.address) as proxy:
        store, other = EtcdStore([proxy.address]), EtcdStore(etcd.endpoints)
        yield EtcdHarness(store, other, proxy)
        await store.close()
        await other.close()


@pytest.fixture(params=["memory", "sealed", pytest.param("etcd", marks=pytest.mark.etcd)])
def harness(request):
    """One store, and how to shake it."""
    return request.getfixturevalue(f"{request.param}_harness")


@pytest.fixture
def store(harness):
    """The store under test."""
    return harness.store


@pytest.fixture
def prefix(harness):
    """Where this test may write."""
    return harness.prefix
