"""A write that was ready to be sent when its term ended never lands, however late it is sent."""

from __future__ import annotations

import asyncio

import pytest

from mgr.store.api import Delete, Put, Revision
from mgr.store.etcd import EtcdStore
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from tests.support.faults.late import Frozen, freeze
from tests.support.faults.proxy import Mode, Proxy
from tests.support.network_faults import Unguarded

pytestmark = pytest.mark.etcd

FREEZES = 1_000
BROKEN_FREEZES = 20
ON_THE_WIRE = 60
"""As many as one transaction can end the terms of."""


@pytest.fixture
async def store(own_etcd):
    """The etcd, past every writer's cable."""
    opened = EtcdStore(own_etcd.endpoints)
    yield opened
    await opened.close()


@pytest.mark.timeout(180)
async def test_no_late_write_of_a_thousand_frozen_writers_lands(own_etcd, store, tmp_path):
    """SIGSTOP between the last check and the sending; woken when a successor leads."""
    with Frozen(own_etcd.address, tmp_path) as writer:
        found = await freeze(store, writer, FREEZES)

    assert (found.freezes, found.accepted) == (FREEZES, 0)
    assert found.describe == {"FENCED": FREEZES}


async def test_without_the_guard_compare_late_writes_land(own_etcd, store, tmp_path):
    """The same freezes, with writes that do not prove their term: the test above can fail."""
    with Frozen(own_etcd.address, tmp_path, guarded=False) as writer:
        found = await freeze(store, writer, BROKEN_FREEZES)

    assert found.accepted >= BROKEN_FREEZES / 2


async def held_on_the_wire(address, store, wrapped):
    """Begin writes of many clusters, hold them in the network, end the terms, let them go."""
    lease = (await store.grant(3600)).lease
    clusters = [Keys(f"wire{number}") for number in range(ON_THE_WIRE)]
    terms = {keys: await store.create(keys.leader, "a", lease=lease) for keys in clusters}
    async with Proxy(address) as cable:
        far = EtcdStore([cable.address])
        await far.get("warm")
        describe = {}

        async def write(keys: Keys, term: Revision) -> None:
            fenced = FencedStore(wrapped(far), keys, term, mirror=Known(keys))
            try:
                describe[keys] = await fenced.put(keys.entry("late"), "late", timeout_s=20)
            except Exception as error:  # noqa: BLE001 - looked at below
                describe[keys] = error

        async with asyncio.TaskGroup() as writers:
            cable.mode = Mode.ANSWERS_ONLY
            for keys, term in terms.items():
                writers.create_task(write(keys, term))
            await asyncio.sleep(0.3)
            await store.commit([Delete(keys.leader) for keys in clusters])
            await store.commit([Put(keys.leader, "b", lease) for keys in clusters])
            cable.mode = Mode.PASS
        await far.close()
    landed = [keys for keys in clusters if await store.get(keys.entry("late")) is not None]
    return landed, describe


class Known:
    """A mirror that has never heard of the key: so the write goes out without a read before."""

    def __init__(self, keys: Keys) -> None:
        self.prefix = keys.root

    def get(self, key):
        return None

    def note_own(self, records, deleted, revision):
        """Nobody reads from it."""


async def test_no_write_that_was_held_up_on_the_wire_lands(own_etcd, store):
    """It left its writer in its own term, and arrives in the successor's."""
    landed, describe = await held_on_the_wire(own_etcd.address, store, lambda inner: inner)

    assert landed == []
    assert all(isinstance(each, Exception) for each in describe.values())


async def test_without_the_guard_compare_writes_held_up_on_the_wire_land(own_etcd, store):
    """The same, with writes that do not prove their term."""
    landed, _ = await held_on_the_wire(own_etcd.address, store, Unguarded)

    assert landed
