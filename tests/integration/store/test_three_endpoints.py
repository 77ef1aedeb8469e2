"""Three etcds, one of which dies, freezes or loses the others."""

import asyncio

import pytest

from mgr.clock import CLOCK
from mgr.errors import OutcomeUnknownError, StoreUnavailableError
from mgr.store import etcd3_stubs
from mgr.store.api import Changed, Current, Interrupted, Listed, Put
from mgr.store.endpoint import Request
from tests.support.reader import Reader

pytestmark = pytest.mark.etcd

MOVE_S = 1.5
"""One attempt, and what a busy machine adds to it."""
AT_ONCE_S = 0.6
"""Surely no attempt was waited for in vain."""

STATUS = etcd3_stubs.method("Maintenance", "Status")


@pytest.fixture
async def store(connect, etcd_cluster):
    """A store over all three, with its first connections made."""
    store = connect(etcd_cluster.endpoints)
    await store.commit([Put("/warm", "")], timeout_s=10)
    return store


async def leader_of(store, cluster):
    """The member that leads the three, and the others."""
    answer = await store._channel.ask(Request(STATUS, STATUS.request(), "status"), timeout_s=5)
    leader = answer.leader
    for member in cluster.members:
        store_of_one = type(store)(member.endpoints)
        one = await store_of_one._channel.ask(
            Request(STATUS, STATUS.request(), "status"), timeout_s=5
        )
        await store_of_one.close()
        if one.header.member_id == leader:
            return member, [other for other in cluster.members if other is not member]
    raise AssertionError("no member leads")


async def use(store, member):
    """Make ``member`` the endpoint in use, with its connection made."""
    [endpoint] = [e for e in store._channel._endpoints if e.address == member.address]
    assert await endpoint.connected(10)
    endpoint.bad_until = 0.0
    store._channel._current = endpoint
    await store.get("/k")
    assert store._channel._current is endpoint


async def seconds_until(work):
    """How long ``work`` takes."""
    began = CLOCK.now()
    await work
    return CLOCK.now() - began


async def write_through(store, keys, *, retry):
    """Write each of ``keys`` once for sure; reads back what was unclear."""
    for key in keys:
        while True:
            try:
                await store.commit([Put(key, "")], timeout_s=1)
                break
            except OutcomeUnknownError:
                if await store.get(key, timeout_s=5) is not None:
                    break
            except StoreUnavailableError:
                if not retry:
                    raise


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_follower_in_use_that_fails_costs_about_a_second_at_most(store, etcd_cluster, how):
    """The next read is answered by another endpoint; so are all after it, at once."""
    _, (follower, _) = await leader_of(store, etcd_cluster)
    await use(store, follower)

    getattr(follower, how)()

    assert await seconds_until(store.get("/k")) < MOVE_S
    assert await seconds_until(store.get("/k")) < AT_ONCE_S
    assert await seconds_until(store.commit([Put("/k", "")])) < AT_ONCE_S


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_feed_moves_on_with_its_endpoint(store, etcd_cluster, how):
    """No change is lost, none comes twice; a request's failure is enough to move it."""
    _, (follower, _) = await leader_of(store, etcd_cluster)
    await use(store, follower)
    keys = [f"/f/{number:02}" for number in range(20)]
    async with Reader(store.follow("/f/")) as reader:
        await write_through(store, keys[:10], retry=False)
        await reader.until(lambda: len(reader.known) == 10)

        getattr(follower, how)()
        failed_at = CLOCK.now()
        await store.get("/f/00", timeout_s=5)
        await write_through(store, keys[10:], retry=True)
        await reader.until(lambda: len(reader.known) == 20)

        assert CLOCK.now() - failed_at < 4
        assert [r.key for news in reader.of(Changed) for r in news.put] == keys
        assert reader.count(Listed) == 1


async def test_a_feed_alone_finds_out_that_its_endpoint_is_frozen(store, etcd_cluster):
    """No request fails beside it: three seconds of silence move it."""
    _, (follower, healthy) = await leader_of(store, etcd_cluster)
    await use(store, follower)
    async with Reader(store.follow("/f/")) as reader:
        await reader.until(lambda: reader.count(Current) >= 1)
        follower.freeze()
        await reader.until(lambda: reader.count(Interrupted) >= 1, within_s=6)
        other = type(store)(healthy.endpoints)
        await other.commit([Put("/f/k", "")])
        await other.close()
        await reader.until(lambda: bool(reader.known), within_s=5)


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_dead_leader_is_survived(store, etcd_cluster, how):
    """Etcd elects another one in a second or two; then everything goes on, exactly."""
    leader, _ = await leader_of(store, etcd_cluster)
    await use(store, leader)
    lease = (await store.grant(30)).lease
    keys = [f"/l/{number:02}" for number in range(20)]
    async with Reader(store.follow("/l/")) as reader:
        await write_through(store, keys[:10], retry=False)

        getattr(leader, how)()
        async with asyncio.timeout(10):
            await write_through(store, keys[10:], retry=True)
        await reader.until(lambda: len(reader.known) == 20)

        assert [r.key for news in reader.of(Changed) for r in news.put] == keys
        assert reader.count(Listed) == 1
    assert await store.renew(lease, timeout_s=5) == 30


async def test_a_write_to_a_frozen_endpoint_is_of_unknown_outcome(store, etcd_cluster):
    """It was handed over: only the frozen one knows. The next call goes elsewhere at once."""
    _, (follower, _) = await leader_of(store, etcd_cluster)
    await use(store, follower)
    follower.freeze()

    with pytest.raises(OutcomeUnknownError):
        await store.commit([Put("/k", "maybe")], timeout_s=0.5)

    assert await seconds_until(store.get("/k")) < AT_ONCE_S


async def test_a_dead_endpoint_costs_a_write_nothing(store, etcd_cluster):
    """Its connection is known to be gone, so the write was surely not sent there."""
    _, (follower, _) = await leader_of(store, etcd_cluster)
    await use(store, follower)
    follower.kill()
    await asyncio.sleep(0.2)  # the kernel tells us that the peer is gone

    assert await seconds_until(store.commit([Put("/k", "1")])) < AT_ONCE_S


async def test_without_a_majority_nothing_is_promised(store, etcd_cluster):
    """One of three left: no read is answered, no write counts, the feed says so."""
    one, two, _ = etcd_cluster.members
    async with Reader(store.follow("/m/")) as reader:
        await reader.until(lambda: reader.count(Current) >= 1)
        one.kill()
        two.kill()

        with pytest.raises(StoreUnavailableError):
            await store.get("/m/k", timeout_s=3)
        await reader.until(lambda: reader.count(Interrupted) >= 1)
        with pytest.raises(StoreUnavailableError):
            await store.commit([Put("/m/k", "")], timeout_s=1)

        one.start()
        await write_through(store, ["/m/back"], retry=True)
        await reader.until(lambda: "/m/back" in reader.known)


async def test_no_endpoint_is_locked_out(store, etcd_cluster):
    """All were bad at once; the first that answers again is used, though it is still marked."""
    channel = store._channel
    for endpoint in channel._endpoints:
        channel.mark_failed(endpoint)
    assert await seconds_until(store.get("/k")) < AT_ONCE_S


async def test_a_member_that_does_not_answer_is_found_while_the_others_work(store, etcd_cluster):
    """Dead or frozen: the operator hears of it before the next one fails."""
    dead, frozen, well = etcd_cluster.members
    assert await store.check_endpoints() == dict.fromkeys(etcd_cluster.endpoints, True)

    dead.kill()
    after_death = await store.check_endpoints()
    dead.start()
    dead.wait_ready()
    frozen.freeze()
    after_freeze = await store.check_endpoints(timeout_s=1)
    frozen.thaw()

    assert after_death.get(dead.address, False) is False
    assert after_death[well.address] is True
    assert after_freeze.get(frozen.address, False) is False
    assert after_freeze[well.address] is True
