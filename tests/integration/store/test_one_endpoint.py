"""One etcd behind a cable that breaks, or that is itself ended and brought back."""

import asyncio
import uuid

import pytest

from mgr.clock import CLOCK
from mgr.errors import OutcomeUnknownError, StoreUnavailableError, TooLargeError
from mgr.store import etcd, etcd3_stubs
from mgr.store.api import Changed, Current, Interrupted, Listed, Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror
from tests.support.etcd import Etcd
from tests.support.faults.proxy import Mode
from tests.support.reader import Reader

pytestmark = pytest.mark.etcd

COMPACT = etcd3_stubs.method("KV", "Compact")


@pytest.fixture
def prefix():
    return f"/one/{uuid.uuid4().hex}/"


async def test_an_absent_etcd_is_an_error_in_time(connect):
    """Nothing listens there: the caller's patience is the limit, and nothing was sent."""
    store = connect(["127.0.0.1:1"])
    began = CLOCK.now()

    with pytest.raises(StoreUnavailableError, match="'/k'") as caught:
        await store.commit([Put("/k", "")], timeout_s=0.5)

    assert not isinstance(caught.value, OutcomeUnknownError)
    assert CLOCK.now() - began < 1.5


async def test_a_write_waits_for_an_etcd_that_comes(connect, etcd_program, etcd_directory):
    """Nothing was sent before the connection stood, so waiting is safe."""
    late = Etcd(etcd_directory / uuid.uuid4().hex, program=etcd_program)
    store = connect(late.endpoints)
    async with asyncio.TaskGroup() as group:
        write = group.create_task(store.commit([Put("/k", "")], timeout_s=10))
        await asyncio.sleep(0.3)
        with late:
            assert (await write).succeeded


@pytest.mark.parametrize("mode", [Mode.PAUSE, Mode.REQUESTS_ONLY, Mode.ANSWERS_ONLY])
async def test_an_interrupted_write_is_of_unknown_outcome(connect, proxy, etcd, prefix, mode):
    """It was sent, no answer came: nobody may say that it was, or was not, done."""
    store, other = connect([proxy.address]), connect(etcd.endpoints)
    await store.commit([Put(f"{prefix}k", "1")])
    proxy.mode = mode

    with pytest.raises(OutcomeUnknownError, match=f"put '{prefix}k'"):
        await store.commit([Put(f"{prefix}k", "2")], timeout_s=0.5)

    expected = "2" if mode is Mode.REQUESTS_ONLY else "1"
    assert (await other.get(f"{prefix}k")).value == expected
    proxy.mode = Mode.PASS


async def test_a_write_that_found_no_connection_was_surely_not_sent(connect, proxy, etcd, prefix):
    """Something takes the connection and says nothing: handed to gRPC, nobody could tell."""
    proxy.mode = Mode.PAUSE
    with pytest.raises(StoreUnavailableError, match="cannot connect") as caught:
        await connect([proxy.address]).commit([Put(f"{prefix}k", "1")], timeout_s=0.7)
    assert not isinstance(caught.value, OutcomeUnknownError)

    both = connect([proxy.address, *etcd.endpoints])
    began = CLOCK.now()
    assert (await both.commit([Put(f"{prefix}k", "2")])).succeeded
    assert CLOCK.now() - began < 1.5


async def test_a_write_whose_connection_is_reset_is_of_unknown_outcome(connect, proxy, prefix):
    """The reset says nothing of what reached the other side before."""
    store = connect([proxy.address])
    await store.get(f"{prefix}k")
    proxy.mode = Mode.REQUESTS_ONLY
    async with asyncio.TaskGroup() as group:
        write = group.create_task(_error_of(store.commit([Put(f"{prefix}k", "2")], timeout_s=5)))
        await asyncio.sleep(0.2)
        proxy.reset()
        proxy.mode = Mode.PASS
        assert isinstance(await write, OutcomeUnknownError)


async def _error_of(work):
    try:
        return await work
    except StoreUnavailableError as error:
        return error


async def test_a_read_is_asked_again(connect, proxy, prefix):
    """A reset connection costs a read a moment, and the caller nothing."""
    store = connect([proxy.address])
    await store.commit([Put(f"{prefix}k", "1")])
    proxy.reset()
    assert (await store.get(f"{prefix}k")).value == "1"
    assert (await store.commit([], when=[])).succeeded


async def test_an_answer_lost_to_create_is_asked_for_again(connect, proxy, etcd, prefix):
    """The store had done it: the second question gives the same answer."""
    store, other = connect([proxy.address]), connect(etcd.endpoints)
    lease = (await store.grant(10)).lease
    proxy.mode = Mode.REQUESTS_ONLY
    async with Reader(other.follow(prefix)) as reader, asyncio.TaskGroup() as group:
        create = group.create_task(store.create(f"{prefix}k", "a", lease=lease, timeout_s=8))
        await reader.until(lambda: bool(reader.known))
        proxy.reset()
        proxy.mode = Mode.PASS
        term = await create
    record = await other.get(f"{prefix}k")
    assert (term, record.lease) == (record.create_revision, lease)


async def test_an_answer_lost_to_grant_is_asked_for_again(connect, proxy):
    """No second lease is made: the first one is looked at."""
    store = connect([proxy.address])
    await store.status()
    proxy.mode = Mode.REQUESTS_ONLY
    async with asyncio.TaskGroup() as group:
        grant = group.create_task(store.grant(30, timeout_s=8))
        await asyncio.sleep(0.3)
        proxy.reset()
        proxy.mode = Mode.PASS
        granted = await grant
    assert granted.ttl_s == 30
    assert await store.renew(granted.lease) == 30


async def test_a_fenced_write_reads_back_what_became_of_it(connect, proxy, etcd):
    """The answer is lost, the write is not: the caller learns its revision."""
    store, other = connect([proxy.address]), connect(etcd.endpoints)
    keys = Keys(f"x{uuid.uuid4().hex}")
    lease = (await other.grant(30)).lease
    term = await other.create(keys.leader, "a", lease=lease)
    mirror = Mirror(store, keys.root, CLOCK)
    fenced = FencedStore(store, keys, term, mirror=mirror)
    await fenced.put(keys.entry("k"), "1")
    proxy.mode = Mode.REQUESTS_ONLY
    async with Reader(other.follow(keys.kv)) as reader, asyncio.TaskGroup() as group:
        write = group.create_task(fenced.put(keys.entry("new"), "2", timeout_s=10))
        await reader.until(lambda: len(reader.known) == 2)
        proxy.reset()
        proxy.mode = Mode.PASS
        revision = await write
    record = await other.get(keys.entry("new"))
    assert (record.value, record.mod_revision) == ("2", revision)


async def test_a_feed_that_hears_nothing_says_so(connect, proxy, etcd, prefix):
    """The connection stands, and that means nothing: after three seconds it is given up."""
    store, other = connect([proxy.address]), connect(etcd.endpoints)
    async with Reader(store.follow(prefix)) as reader:
        await reader.until(lambda: reader.count(Current) >= 1)
        proxy.mode = Mode.PAUSE
        paused_at = CLOCK.now()
        await reader.until(lambda: reader.count(Interrupted) >= 1)
        assert CLOCK.now() - paused_at < 5
        await other.commit([Put(f"{prefix}k", "1")])

        proxy.mode = Mode.PASS
        await reader.until(lambda: bool(reader.known))
        await reader.until(lambda: isinstance(reader.news[-1], Current))
        assert reader.count(Listed) == 1


async def test_etcd_ended_and_brought_back_is_found_again(connect, own_etcd):
    """Reads, writes, leases and feeds go on; no change is lost, none comes twice."""
    store = connect(own_etcd.endpoints)
    lease = (await store.grant(30)).lease
    async with Reader(store.follow("/r/")) as reader:
        await store.commit([Put("/r/0", "", lease)])
        own_etcd.kill()
        with pytest.raises(StoreUnavailableError):
            await store.get("/r/0", timeout_s=0.5)
        await reader.until(lambda: reader.count(Interrupted) >= 1)

        own_etcd.start()
        await asyncio.get_running_loop().run_in_executor(None, own_etcd.wait_ready)
        began = CLOCK.now()
        await store.commit([Put("/r/1", "")], timeout_s=5)
        assert CLOCK.now() - began < 4
        assert await store.renew(lease) == 30
        await reader.until(lambda: len(reader.known) == 2)
        assert [r.key for n in reader.of(Changed) for r in n.put] == ["/r/0", "/r/1"]


async def test_a_listing_larger_than_one_message_comes_in_pages(connect, own_etcd):
    """Etcd has no limit for an answer, we have: the pages get smaller until they fit."""
    store = connect(own_etcd.endpoints, timeout_s=20)
    value = "x" * 1_300_000
    for number in range(30):
        await store.commit([Put(f"/big/{number:02}", value)])

    listing = await store.list("/big/")

    assert [r.key for r in listing.records] == [f"/big/{number:02}" for number in range(30)]


async def paged(store, monkeypatch, meddle):
    """List ``/p/`` in pages of ten; ``meddle`` runs between the first and the second."""
    monkeypatch.setattr(etcd, "PAGE_RECORDS", 10)
    ask, asked = store._channel.ask, []

    async def meddled(request, *, timeout_s):
        asked.append(request)
        if len(asked) == 2:
            await meddle(ask)
        return await ask(request, timeout_s=timeout_s)

    monkeypatch.setattr(store._channel, "ask", meddled)
    return await store.list("/p/")


async def test_the_pages_of_a_listing_are_of_one_revision(connect, own_etcd, monkeypatch):
    """What is written between two pages is not in it, nor is half of it."""
    store, other = connect(own_etcd.endpoints), connect(own_etcd.endpoints)
    made = await store.commit([Put(f"/p/{number:02}", "1") for number in range(30)])

    async def meddle(_):
        await other.commit([Put("/p/00", "2"), Put("/p/29", "2"), Put("/p/30", "2")])

    listing = await paged(store, monkeypatch, meddle)

    assert {record.value for record in listing.records} == {"1"}
    assert (len(listing.records), listing.revision) == (30, made.revision)


async def test_a_listing_survives_compaction_between_its_pages(connect, own_etcd, monkeypatch):
    """It begins again at a newer revision, and all of it is of that one."""
    store, other = connect(own_etcd.endpoints), connect(own_etcd.endpoints)
    await store.commit([Put(f"/p/{number:02}", "1") for number in range(30)])

    async def meddle(ask):
        made = await other.commit([Put("/p/29", "2")])
        message = COMPACT.request(revision=made.revision)
        await ask(etcd.Request(COMPACT, message, "compact"), timeout_s=2)

    listing = await paged(store, monkeypatch, meddle)

    assert len(listing.records) == 30
    assert listing.records[-1].value == "2"


async def test_what_etcd_itself_finds_too_large_names_the_limit(
    connect, etcd_program, etcd_directory
):
    """An operator may have set a lower limit than the usual one."""
    strict = Etcd(
        etcd_directory / uuid.uuid4().hex,
        program=etcd_program,
        flags={"max-request-bytes": "10000", "max-txn-ops": "5"},
    )
    with strict:
        store = connect(strict.endpoints)
        with pytest.raises(TooLargeError, match=r"put '/k'.*limit"):
            await store.commit([Put("/k", "x" * 20_000)])
        with pytest.raises(TooLargeError, match="limit"):
            await store.commit([Put(f"/{n}", "") for n in range(6)])


async def test_a_closed_store_answers_every_waiting_call(connect, proxy):
    """Nobody hangs on what will not come."""
    store = connect([proxy.address])
    await store.status()
    proxy.mode = Mode.PAUSE
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_error_of(store.get("/k", timeout_s=30)))
        await asyncio.sleep(0.1)
        await store.close()
        assert isinstance(await waiting, StoreUnavailableError)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.get("/k")


async def test_a_cancelled_call_is_cancelled(connect, proxy):
    """Its caller is gone; this is no error of the store."""
    store = connect([proxy.address])
    await store.status()
    proxy.mode = Mode.PAUSE
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.get("/k", timeout_s=30)
    proxy.mode = Mode.PASS
    assert await store.get("/k") is None
