"""Three etcds, one of them behind a cable that holds requests up and delivers them later."""

import asyncio
import uuid

import pytest

from mgr.clock import CLOCK
from mgr.store.api import DeletePrefix, Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror
from tests.support.faults.proxy import Mode, Proxy
from tests.support.late_store import Unordered

pytestmark = pytest.mark.etcd

ROUNDS = 6
PIECE_S = 0.2


class Scene:
    """A term that writes over all three etcds; ``cable`` leads to the first of them."""

    def __init__(self, store, direct, cable):
        self.store = store
        self.direct = direct
        self.cable = cable
        self.keys = Keys(f"x{uuid.uuid4().hex}")
        self.mirror = Mirror(direct, self.keys.root, CLOCK)

    async def lead(self, wrapped):
        lease = (await self.direct.grant(600)).lease
        term = await self.direct.create(self.keys.leader, "a", lease=lease)
        await self.mirror.wait_for_revision(term, 5)
        return FencedStore(wrapped(self.store), self.keys, term, mirror=self.mirror)

    async def use_cable(self):
        """Make the endpoint behind the cable the one in use, with its connection made."""
        channel = self.store._channel
        [endpoint] = [e for e in channel._endpoints if e.address == self.cable.address]
        assert await endpoint.connected(10)
        endpoint.bad_until = 0.0
        channel._current = endpoint
        await self.store.get(self.keys.order, timeout_s=10)
        assert channel._current is endpoint

    async def held(self, write):
        """Do ``write``: the first attempt is held up, another endpoint acknowledges it."""
        await self.use_cable()
        self.cable.mode = Mode.ANSWERS_ONLY
        await write

    async def deliver(self):
        """Let what was held up arrive, and on the same connection something after it."""
        # Piece by piece: the request first, and some time later that its sender gave it up.
        self.cable.delay_s = PIECE_S
        self.cable.mode = Mode.PASS
        await asyncio.sleep(2 * PIECE_S)
        self.cable.delay_s = 0.0
        await self.use_cable()
        await self.store.commit([Put(self.keys.entry("after"), "")], timeout_s=10)


@pytest.fixture
async def scene(connect, etcd_cluster):
    """A store over three endpoints, the first of which is behind the cable."""
    first, *others = etcd_cluster.endpoints
    async with Proxy(first) as cable, asyncio.TaskGroup() as tasks:
        store = connect([cable.address, *others])
        made = Scene(store, connect(others), cable)
        running = tasks.create_task(made.mirror.run())
        yield made
        running.cancel()
        await store.close()


async def resurrections(scene, wrapped):
    """How often a deletion that was acknowledged is undone by an older put of the key."""
    fenced = await scene.lead(wrapped)
    undone = 0
    for number in range(ROUNDS):
        key = scene.keys.entry(f"{number}")
        await scene.held(fenced.put(key, "old"))
        await fenced.delete(key)
        await scene.deliver()
        undone += await scene.direct.get(key) is not None
    return undone


async def test_a_put_that_was_held_up_undoes_no_acknowledged_deletion(scene):
    """Put and deletion were acknowledged by another endpoint before it arrived: six times."""
    assert await resurrections(scene, lambda store: store) == 0


async def test_without_the_compare_of_order_deletions_are_undone(scene):
    """The same story with the broken build: the test above can fail."""
    assert await resurrections(scene, Unordered) >= ROUNDS / 2


async def prefixes_lost(scene, wrapped):
    """How often a key is taken along by an older deletion of its prefix."""
    fenced = await scene.lead(wrapped)
    lost = 0
    for number in range(ROUNDS):
        prefix = scene.keys.entry(f"{number}/")
        await scene.held(fenced.commit([DeletePrefix(prefix)]))
        await fenced.put(f"{prefix}k", "later")
        await scene.deliver()
        lost += await scene.direct.get(f"{prefix}k") is None
    return lost


async def test_a_deletion_of_a_prefix_that_was_held_up_takes_no_later_key_along(scene):
    """The key was acknowledged before the deletion arrived: six times."""
    assert await prefixes_lost(scene, lambda store: store) == 0


async def test_without_the_compare_of_order_later_keys_are_taken_along(scene):
    """The same story with the broken build: the test above can fail."""
    assert await prefixes_lost(scene, Unordered) >= ROUNDS / 2
