"""Which etcd an answer must come from, and that it must not be older than what was seen."""

import asyncio
import contextlib
import logging

import pytest

from mgr.errors import LeaseExpiredError, OutcomeUnknownError, StoreUnavailableError
from mgr.link import KnownStoreState
from mgr.store.api import LeaseId, Put
from mgr.store.etcd import EtcdStore
from mgr.store.identity import SILENT_S, StoreIdentity
from tests.support.clock import ManualClock
from tests.support.fake_etcd import FakeEtcd

OURS, OTHER = 7, 8


@pytest.fixture
async def connect():
    """``connect(etcd, ...)``: a store over these etcds; closed in the end."""
    async with contextlib.AsyncExitStack() as stack:

        def make(*etcds, **seen):
            identity = StoreIdentity(KnownStoreState(**seen), clock=ManualClock())
            store = EtcdStore([etcd.address for etcd in etcds], identity=identity)
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture
async def start():
    """Starts a fake etcd of a cluster; stopped in the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(cluster_id=OURS):
            return await stack.enter_async_context(FakeEtcd(cluster_id))

        yield make


async def test_nothing_is_written_to_an_endpoint_of_another_cluster(start, connect):
    """It is asked which cluster it is before it is used, and another endpoint does the work."""
    foreign, ours = await start(OTHER), await start()
    store = connect(foreign, ours, cluster_id=OURS)

    assert (await store.commit([Put("/k", "1")])).succeeded

    assert (len(foreign.writes), len(ours.writes)) == (0, 1)
    assert store.identity.foreign == {foreign.address: OTHER}
    assert store.identity.trouble == ""


async def test_a_write_that_went_to_another_cluster_is_done_in_ours(start, connect):
    """The endpoint was ours when it was asked. In ours nothing was done, so it is repeated."""
    changing, ours = await start(), await start()
    store = connect(changing, ours, cluster_id=OURS)
    changing.on_write = lambda: setattr(changing, "cluster_id", OTHER)

    assert (await store.commit([Put("/k", "1")])).succeeded

    assert len(ours.writes) == 1


async def test_a_refusal_by_another_cluster_is_none(start, connect):
    """It has no header: the endpoint is asked once more which cluster it is."""
    changing, ours = await start(), await start()
    store = connect(changing, ours, cluster_id=OURS)
    changing.on_write = lambda: setattr(changing, "cluster_id", OTHER)
    changing.refusal = "etcdserver: requested lease not found"

    assert (await store.commit([Put("/k", "1", LeaseId(5))])).succeeded

    ours.refusal = changing.refusal
    with pytest.raises(LeaseExpiredError):
        await store.commit([Put("/k", "1", LeaseId(5))])


async def test_where_only_another_cluster_answers_nobody_does(start, connect):
    """The text names the endpoint, both clusters and the way out."""
    foreign = await start(OTHER)
    store = connect(foreign, cluster_id=OURS)

    with pytest.raises(StoreUnavailableError, match="another cluster, 8") as caught:
        await store.commit([Put("/k", "1")], timeout_s=0.5)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert store.identity.trouble == ""

    store.identity._clock.advance(SILENT_S)
    with pytest.raises(StoreUnavailableError, match="belongs to cluster 8"):
        await store.commit([Put("/k", "1")], timeout_s=0.5)
    assert foreign.address in store.identity.trouble
    assert "etcd cluster 7" in store.identity.trouble
    assert "docs/how-to/back-up-and-restore.md" in store.identity.trouble

    foreign.cluster_id = OURS
    await store.get("/k", timeout_s=5)
    assert store.identity.trouble == ""
    assert store.identity.foreign == {}


@pytest.mark.parametrize("first", [OURS, OTHER])
async def test_the_first_contact_believes_most_endpoints(start, connect, first):
    """Whatever the first one in the list says."""
    etcds = [await start(first), await start(OURS), await start(OTHER), await start(OURS)]
    etcds[0].cluster_id = first
    if first == OTHER:
        etcds.append(await start(OURS))
    store = connect(*etcds)

    await store.get("/k")

    assert store.identity.cluster_id == OURS


async def test_a_tie_between_clusters_is_nobodys(start, connect):
    """Nothing says which one is meant: both are named, and nothing is written."""
    one, two = await start(OURS), await start(OTHER)
    store = connect(one, two)

    with pytest.raises(StoreUnavailableError, match="different etcd clusters") as caught:
        await store.commit([Put("/k", "1")])

    for words in (one.address, two.address, "7:", "8:"):
        assert words in str(caught.value)
    assert (one.writes, two.writes) == ([], [])
    two.cluster_id = OURS
    assert (await store.commit([Put("/k", "1")])).succeeded
    assert store.identity.trouble == ""


async def test_a_store_that_went_back_in_time_is_not_used(start, connect):
    """Neither read nor written, until it is past the newest revision that was seen."""
    etcd = await start()
    store = connect(etcd)
    etcd.revision = 100
    await store.get("/k")
    etcd.revision = 50

    with pytest.raises(StoreUnavailableError, match="went back in time"):
        await store.get("/k")
    with pytest.raises(StoreUnavailableError) as caught:
        await store.commit([Put("/k", "1")])

    assert not isinstance(caught.value, OutcomeUnknownError)
    assert etcd.writes == []
    assert "--bump-revision 100 " in store.identity.trouble
    assert "--mark-compacted" in store.identity.trouble

    etcd.revision = 101
    assert (await store.commit([Put("/k", "1")])).succeeded
    assert store.identity.trouble == ""


async def test_a_write_that_finds_out_that_etcd_went_back_is_of_unknown_outcome(start, connect):
    """It was done, in a copy that may be thrown away."""
    etcd = await start()
    store = connect(etcd)
    etcd.revision = 100
    await store.commit([Put("/k", "1")])
    etcd.revision = 50

    with pytest.raises(OutcomeUnknownError, match="went back in time"):
        await store.commit([Put("/k", "2")])


async def test_what_an_earlier_process_saw_is_asked_for_before_the_first_write(start, connect):
    """The first request that arrives at a restored etcd is a read."""
    etcd = await start()
    store = connect(etcd, cluster_id=OURS, newest_revision=100)

    with pytest.raises(StoreUnavailableError, match="went back in time"):
        await store.commit([Put("/k", "1")])

    assert etcd.writes == []


async def test_an_answer_that_was_overtaken_is_no_step_back():
    """Two requests were under way; the later one's answer came first."""
    identity = StoreIdentity(KnownStoreState(cluster_id=OURS))
    sent_at = identity.newest_revision
    assert identity.advance(12, sent_at)

    assert identity.advance(11, sent_at)

    assert identity.newest_revision == 12
    assert not identity.advance(11, 12)


async def test_a_revision_that_leaps_is_a_restore():
    """No etcd writes a billion times in a second; a hundred thousand times, perhaps."""
    clock = ManualClock()
    identity = StoreIdentity(clock=clock)
    identity.advance(10, 0)
    clock.advance(60)
    identity.advance(6_000_000, 10)
    assert identity.restores == 0

    clock.advance(1)
    identity.advance(1_006_000_000, 6_000_000)

    assert identity.restores == 1
    assert identity.trouble == ""


async def test_a_process_that_was_away_for_long_finds_no_restore():
    """Etcd went on meanwhile; what stands in the file is old."""
    identity = StoreIdentity(
        KnownStoreState(cluster_id=OURS, newest_revision=10), clock=ManualClock()
    )

    identity.advance(50_000_000, 10)

    assert identity.restores == 0
    assert identity.confirmed


async def test_a_foreign_endpoint_is_logged_ever_more_seldom(caplog):
    """Once when it is found, then after five seconds, ten, twenty: it may stay for days."""
    clock = ManualClock()
    identity = StoreIdentity(KnownStoreState(cluster_id=OURS), clock=clock)
    with caplog.at_level(logging.WARNING, "mgr.store.identity"):
        for _ in range(60):
            identity.matches("e:1", OTHER)
            clock.advance(1)

    assert len(caplog.records) == 4
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert (caplog.records[0].address, caplog.records[0].cluster_id) == ("e:1", "8")


async def test_an_endpoint_that_stays_foreign_is_asked_ever_more_seldom(start, connect):
    """Beside healthy ones it costs a question now and then, up to once a minute."""
    foreign, ours = await start(OTHER), await start()
    store = connect(foreign, ours, cluster_id=OURS)
    pauses = []
    for _ in range(8):
        [endpoint, _] = store._channel._endpoints
        endpoint.bad_until = 0.0
        store._channel._current = endpoint
        await store.get("/k")
        pauses.append(endpoint.bad_until - asyncio.get_running_loop().time())

    assert pauses == pytest.approx([2, 4, 8, 16, 32, 60, 60, 60], abs=0.5)
