"""Who leads, as a mirror over a dictionary shows it."""

import asyncio

import pytest

from mgr.election.records import Leader, Presence, encode
from mgr.host.cluster_view import ClusterView
from mgr.store.api import Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from tests.support.clock import ManualClock

KEYS = Keys("t")
TTL_S = 5


def leader(name):
    return encode(
        Leader(
            name=name,
            incarnation="i",
            grpc_address=f"{name}:7400",
            http_address=f"{name}:7480",
            version="1",
            since="",
            lease_ttl_s=TTL_S,
        )
    )


def presence(name, *, warm=True):
    return encode(
        Presence(
            name=name,
            incarnation="i",
            host="h",
            boot_id="b",
            pid_namespace="n",
            pid=1,
            pid_started=1,
            grpc_address="",
            http_address="",
            version="1",
            warm=warm,
        )
    )


class World:
    """A store, a mirror that follows it, and the view of it."""

    def __init__(self):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.mirror = Mirror(self.store, KEYS.root, self.clock)
        self.view = ClusterView(self.mirror, KEYS, self.clock, TTL_S)

    async def put(self, key, value):
        revision = (await self.store.commit([Put(key, value)])).revision
        await self.mirror.wait_for_revision(revision, 5)
        return revision

    async def lead(self, name):
        lease = (await self.store.grant(TTL_S)).lease
        term = await self.store.create(KEYS.leader, leader(name), lease=lease)
        await self.mirror.wait_for_revision(term, 5)
        return term, lease


@pytest.fixture
async def world():
    async with asyncio.TaskGroup() as tasks:
        made = World()
        following = tasks.create_task(made.mirror.run())
        await made.put(f"{KEYS.root}start", "")
        yield made
        following.cancel()


async def test_nobody_leads_in_an_empty_cluster(world):
    """None is an answer, not an error."""
    assert world.view.leader() is None
    assert world.view.services() == {}


async def test_the_leader_is_shown_with_its_term(world):
    """The term is the create revision of the leader key."""
    term, _ = await world.lead("a")

    found = world.view.leader()

    assert (found.name, found.term, found.grpc_address) == ("a", term, "a:7400")


async def test_a_view_older_than_the_lease_names_nobody(world):
    """The active it shows may be dead and replaced: a redirect to it would be a lie."""
    await world.lead("a")
    world.mirror.age_s = lambda: TTL_S
    assert world.view.leader() is not None

    world.mirror.age_s = lambda: TTL_S + 0.001

    assert world.view.leader() is None


async def test_a_manager_whose_gate_is_shut_does_not_name_itself(world):
    """Clients would stay with it, or come back to it, while its successor leads."""
    term, _ = await world.lead("a")
    await world.put(KEYS.service("page"), "http://page")
    world.view.term_is_valid = lambda asked: asked != term

    assert world.view.leader() is None
    assert world.view.services() == {"page": "http://page"}  # a suspension takes none back


async def test_an_unreadable_leader_is_nobody(world):
    """Another release's record, or somebody's hand in etcd, does not crash a standby."""
    await world.put(KEYS.leader, "{")

    assert world.view.leader() is None


async def test_presences_are_listed_by_name(world):
    """Whoever is alive, the unreadable left out."""
    await world.put(KEYS.manager("b"), presence("b"))
    await world.put(KEYS.manager("a"), presence("a"))
    await world.put(KEYS.manager("c"), "?")

    assert [found.name for found in world.view.presences()] == ["a", "b"]


async def test_an_address_of_an_earlier_term_is_not_shown(world):
    """It hangs on a lease that may live on, but nobody answers there."""
    await world.put(KEYS.service("old"), "http://old")
    await world.put(KEYS.service("again"), "http://old")
    await world.lead("a")
    await world.put(KEYS.service("again"), "http://new")

    assert world.view.services() == {"again": "http://new"}


async def test_changes_yield_the_present_and_then_each_change(world):
    """Followers need no first look of their own."""
    seen = []
    changes = world.view.changes()
    seen.append(await anext(changes))
    _, lease = await world.lead("a")
    seen.append((await anext(changes)).name)
    await world.store.revoke(lease)
    seen.append(await anext(changes))
    await world.lead("b")
    seen.append((await anext(changes)).name)
    await changes.aclose()

    assert seen == [None, "a", None, "b"]


async def test_a_leader_of_an_older_term_is_nobody(world):
    """Terms only grow. Such a key comes from a copy of etcd, and is about to go."""
    term, _ = await world.lead("a")
    assert world.view.leader().term == term

    later = ClusterView(world.mirror, KEYS, world.clock, TTL_S, newest_term=term + 1)

    assert later.leader() is None
    assert later.services() == {}
