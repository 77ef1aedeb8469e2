"""Which of several reports about the active counts."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mgr.client.leader_search import FOLLOW_PAUSE, LeaderHint, LeaderSearch, newest
from mgr.client.peers import Peers
from mgr.client.streams import pause_after
from mgr.rpc.v1.manager_pb2 import Active, Standby, WatchActiveResponse
from tests.support.virtual_loop import VirtualClock, VirtualLoop


class Quiet(LeaderSearch):
    """Gets its messages from the test, and asks no manager."""

    def _ask_all(self):
        self.asked = self._peers.addresses

    def receive(self, speaker, from_address, active="", term=0, address="", standbys=()):
        message = WatchActiveResponse(name=speaker)
        if active:
            message.active.CopyFrom(Active(name=active, term=term, grpc_address=address))
        message.standbys.extend(Standby(grpc_address=each) for each in standbys)
        self._on_message(from_address, message)


@pytest.fixture
def search():
    return Quiet(Peers(["a:1", "b:1"]))


def test_the_highest_term_wins(search):
    """A manager that is cut off can only know an older one."""
    search.receive("b", "b:1", active="c", term=7, address="c:1")
    search.receive("a", "a:1", active="a", term=5, address="a:1")

    assert (search.best.name, search.best.term) == ("c", 7)


def test_the_active_itself_knows_the_best_way_to_it(search):
    """It was asked by an address that works; what it advertises may not work from here."""
    search.receive("b", "b:1", active="a", term=5, address="inside:7400")
    search.receive("a", "a:1", active="a", term=5, address="inside:7400")
    search.receive("b", "b:1", active="a", term=5, address="inside:7400")

    assert search.best.address == "a:1"


def test_nobody_leads_takes_nothing_back(search):
    """Another manager may know better; a term that is over is passed by the next one only."""
    search.receive("a", "a:1", active="a", term=5, address="a:1")
    search.receive("b", "b:1")

    assert search.best.term == 5
    assert search.unhelpful["b:1"] == "reports no leader"
    assert search.answered


def test_standbys_are_learned_and_asked(search):
    """A client that was given one manager survives the loss of that one."""
    search.receive("a", "a:1", active="a", term=5, address="a:1", standbys=["c:1", ""])

    assert search.asked == ("a:1", "b:1", "c:1")


def test_a_lower_term_counts_once_nobody_names_the_higher_one(search):
    """Etcd was restored from a backup: whoever waits for a higher term waits for ever."""
    search.receive("a", "a:1", active="a", term=900, address="a:1")
    search.receive("b", "b:1", active="b", term=30, address="b:1")
    assert search.best.term == 900  # ``b`` may be cut off, and know an older one

    search.receive("a", "a:1")

    assert (search.best.term, search.best.address) == (30, "b:1")


async def test_each_change_is_reported_also_to_a_lower_term(search):
    """A follower is never deaf."""
    changes = search.changes()
    search.receive("a", "a:1", active="a", term=900, address="a:1")
    first = await anext(changes)
    search.receive("a", "a:1", active="b", term=30, address="b:1")
    second = await anext(changes)

    assert (first.term, second.term) == (900, 30)


def test_a_client_forgets_the_active_of_a_term_that_is_named_no_more():
    """Its calls would go to where nobody leads any more."""
    lowered = []
    search = Quiet(Peers(["a:1"]), on_lower_term=lowered.append)
    search.receive("a", "a:1", active="a", term=900, address="a:1")
    search.receive("a", "a:1", active="b", term=30, address="b:1")

    assert [each.term for each in lowered] == [30]


def test_a_stream_is_left_once_when_its_term_is_the_newest_no_more(search):
    """Whichever manager reported it, and whatever its own manager reports."""
    left = []
    search.receive("a", "a:1", active="a", term=5, address="a:1")
    with search.on_superseded(5, lambda: left.append(5)):
        search.receive("b", "b:1", active="a", term=5, address="a:1")
        assert left == []
        search.receive("b", "b:1", active="b", term=6, address="b:1")
        search.receive("b", "b:1", active="b", term=7, address="b:1")
    with search.on_superseded(7, lambda: left.append(7)):
        pass

    assert left == [5]


def test_an_active_that_nobody_names_any_more_is_not_the_best(search):
    """A suspended one does not name itself: whoever asked it all the same would be a load."""
    search.receive("a", "a:1", active="a", term=5, address="a:1")
    search.receive("b", "b:1", active="a", term=5, address="a:1")
    search.receive("b", "b:1")
    assert search.best.term == 5

    search.receive("a", "a:1")

    assert search.best is None


def test_of_several_hints_the_highest_term_wins():
    """The first of several of one term; none of none."""
    first, second, higher = LeaderHint(5, "a:1"), LeaderHint(5, "b:1"), LeaderHint(6, "c:1")

    assert newest(first, None, second) is first
    assert newest(first, higher) is higher
    assert newest(None) is None


class Dead(LeaderSearch):
    """Every manager is dead; counts how often each is asked."""

    asked_of = 0

    async def _listen(self, *_):
        self.asked_of += 1
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata()
        )


@pytest.fixture
def virtual_loop():
    loop = VirtualLoop(VirtualClock())
    yield loop
    loop.close()


def attempts_within(loop, seconds):
    """How often the managers were asked by somebody who follows them for so long."""

    async def follow():
        async with Dead(Peers(["a:1", "b:1", "c:1"]), pause=FOLLOW_PAUSE) as search:
            await asyncio.sleep(seconds)
            return search.asked_of

    return loop.run_until_complete(follow())


def test_dead_managers_are_asked_once_a_second_by_who_follows_them(virtual_loop):
    """Ten new connections a second to each, for days, were half a processor."""
    first, hour = attempts_within(virtual_loop, 1), attempts_within(virtual_loop, 3600)

    assert first > 3 * 5
    assert hour < first + 3 * 3600


def test_a_stream_that_is_refused_again_and_again_is_opened_more_seldom():
    """As by a suspended active; one that lived is opened again at once."""
    pauses = [0.1]
    for _ in range(10):
        pauses.append(pause_after(pauses[-1], lived_s=0.01))

    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    assert pause_after(1.0, lived_s=60) == 0.1
