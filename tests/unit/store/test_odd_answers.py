import pytest

from mgr.clock import CLOCK
from mgr.store import watch
from mgr.store.api import Changed, Current, Interrupted, Listed
from mgr.store.etcd import EtcdStore
from tests.support.clock import ManualClock
from tests.support.fake_etcd import WATCH, FakeEtcd, header
from tests.support.reader import Reader


@pytest.fixture
async def etcd():
    async with FakeEtcd() as fake:
        yield fake


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def reader(etcd, clock):
    """A feed of the fake etcd, for which time stands still unless a test moves it."""
    store = EtcdStore([etcd.address], clock=clock)
    async with Reader(store.follow("/p/")) as reader:
        await reader.until(lambda: reader.count(Current) >= 1)
        yield reader
    await store.close()


def put(key, revision, **more):
    kv = {"key": key.encode(), "mod_revision": revision, "create_revision": revision}
    return WATCH.response(header=header(revision), events=[{"kv": kv}], **more)


def cancelled(reason):
    return WATCH.response(header=header(10), canceled=True, cancel_reason=reason)


async def test_an_endpoint_that_lives_and_says_nothing_is_given_up(etcd, clock, monkeypatch):
    """Its connection stands and answers pings; its word is missing all the same."""
    monkeypatch.setattr(watch, "SILENCE_S", 0.3)
    etcd.answers_progress = False
    store = EtcdStore([etcd.address], clock=clock)
    began = CLOCK.now()
    async with Reader(store.follow("/p/")) as reader:
        await reader.until(lambda: reader.count(Interrupted) >= 1)
        assert "was silent" in reader.of(Interrupted)[0].why
        assert CLOCK.now() - began < 2
    await store.close()


async def test_the_parts_of_a_revision_are_put_together(etcd, reader):
    """Etcd sends what is too large for one message in fragments."""
    etcd.say.put_nowait(put("/p/a", 12, fragment=True))
    etcd.say.put_nowait(put("/p/b", 12, fragment=True))
    etcd.say.put_nowait(put("/p/c", 12))

    await reader.until(lambda: reader.count(Changed) == 1)
    [changed] = reader.of(Changed)
    assert [record.key for record in changed.put] == ["/p/a", "/p/b", "/p/c"]


async def test_what_is_known_is_not_reported_again(etcd, reader):
    """A stream begins at the position, so it repeats the last revision."""
    etcd.say.put_nowait(put("/p/old", 10))
    etcd.say.put_nowait(put("/p/new", 11))
    await reader.until(lambda: reader.count(Changed) == 1)
    assert list(reader.known) == ["/p/new"]


async def test_a_cancelled_watch_says_why_and_is_opened_again(etcd, reader):
    """At the position, with nothing left out."""
    etcd.revision = 12
    etcd.say.put_nowait(put("/p/a", 12))
    etcd.say.put_nowait(cancelled("a whim"))
    await reader.until(lambda: reader.count(Interrupted) == 1)
    assert "a whim" in reader.of(Interrupted)[0].why

    await reader.until(lambda: isinstance(reader.news[-1], Current))
    assert reader.count(Listed) == 1
    assert etcd.created[-1].start_revision == 12


async def test_a_feed_waits_for_an_etcd_that_went_back_in_time(etcd, reader):
    """Nothing of a restored copy is shown, until it is past what was seen."""
    etcd.revision = 5
    etcd.say.put_nowait(cancelled("restored"))
    await reader.until(lambda: reader.count(Interrupted) == 3)
    assert "10 was seen before" in reader.of(Interrupted)[1].why
    assert "went back in time" in reader.of(Interrupted)[2].why
    assert reader.count(Listed) == 1

    etcd.revision = 11
    await reader.until(lambda: reader.count(Listed) == 2)
    assert reader.of(Listed)[1].revision == 11


async def test_a_member_that_lags_did_not_go_back_in_time(etcd, reader):
    """A stream shows where one member is; a listing, where the cluster is."""
    etcd.watch_revision = 5
    etcd.say.put_nowait(cancelled("moved"))
    await reader.until(lambda: reader.count(Listed) == 2)
    assert reader.of(Listed)[1].revision == 10
    assert not any("went back in time" in news.why for news in reader.of(Interrupted))


async def test_a_message_of_another_cluster_ends_the_feed(etcd, reader):
    """Its events are not shown; the feed goes on where the right cluster answers."""
    etcd.say.put_nowait(
        WATCH.response(
            header=header(11, cluster_id=8),
            events=[{"kv": {"key": b"/p/foreign", "mod_revision": 11}}],
        )
    )
    await reader.until(lambda: reader.count(Interrupted) == 1)
    assert "belongs to another cluster, 8" in reader.of(Interrupted)[0].why

    await reader.until(lambda: len(etcd.created) > 1)
    etcd.say.put_nowait(put("/p/ours", 11))
    await reader.until(lambda: bool(reader.known))
    assert list(reader.known) == ["/p/ours"]


async def test_a_process_that_slept_does_not_believe_what_it_wakes_to(etcd, clock, reader):
    """What piled up meanwhile may be of any age."""
    clock.advance(60)
    etcd.say.put_nowait(etcd.progress())
    await reader.until(lambda: reader.count(Interrupted) >= 1)
    assert "no message for 60.0 s" in reader.of(Interrupted)[0].why
    await reader.until(lambda: isinstance(reader.news[-1], Current))


async def test_an_answer_that_was_long_on_its_way_proves_nothing(etcd, clock, reader):
    """It says what was true when the question came, at the earliest when it was asked."""
    etcd.answers_progress = False
    etcd.asked.clear()
    await etcd.asked.wait()
    before = reader.count(Current)

    clock.advance(1.5)
    etcd.say.put_nowait(etcd.progress())
    etcd.say.put_nowait(put("/p/mark", 11))
    await reader.until(lambda: reader.count(Changed) == 1)
    assert reader.count(Current) == before

    etcd.answers_progress = True
    await reader.until(lambda: reader.count(Current) > before)
