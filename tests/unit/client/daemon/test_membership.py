"""When a program comes back: hours of it on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace

import grpc
import pytest

from mgr.client.daemon.membership import PAUSE_S_MAX, REFUSED_PAUSE_S, Membership, Patience
from mgr.client.daemon.program import Program
from mgr.client.leader_search import Sighting
from mgr.errors import ReportRefusedError, UnreachableError
from mgr.rpc.v1.cluster_pb2 import Configure, ReportResponse
from tests.support.virtual_loop import VirtualClock, VirtualLoop

WITHIN_S = 10


class Stream:
    """A stream to a manager that takes everything, until the road is cut."""

    def __init__(self, road):
        self.road = road
        self.over = asyncio.Event()
        self.answers = []

    def done(self):
        return self.over.is_set()

    def cancel(self):
        self.over.set()

    async def write(self, message):
        if not self.over.is_set() and message.HasField("open"):
            self.road.arrivals.append((asyncio.get_running_loop().time(), message.open))
            configure = Configure()
            configure.period.FromSeconds(5)
            configure.rejoin_within.FromSeconds(self.road.within_s)
            self.answers.append(ReportResponse(configure=configure))

    async def done_writing(self):
        self.over.set()

    async def read(self):
        if self.answers and self.answers[0] is not None:
            answer, self.answers[0] = self.answers[0], None
            return answer
        await self.over.wait()
        return grpc.aio.EOF

    async def code(self):
        return grpc.StatusCode.OK


class Road:
    """To one manager, which may be gone."""

    def __init__(self, within_s=WITHIN_S):
        self.within_s = within_s
        self.arrivals = []
        self.streams = []
        self.attempts = 0
        self.best = Sighting(5, "a:1")
        self.silent = {}
        self.open = True
        self.news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def search(self):
        yield self

    async def newer(self, term):
        while self.best is None or self.best.term <= term:
            await self.news.wait()

    def lead(self, term):
        self.best = Sighting(term, "b:1")
        self.open = True
        news, self.news = self.news, asyncio.Event()
        news.set()

    def report(self, address):
        self.attempts += 1
        self.streams.append(Stream(self))
        if not self.open:
            self.streams[-1].cancel()
        return self.streams[-1]

    def cut(self):
        for stream in self.streams:
            stream.cancel()


def in_virtual_time(scenario):
    loop = VirtualLoop(VirtualClock())
    try:
        loop.run_until_complete(scenario)
    finally:
        loop.close()


def programs(road, count):
    rng = random.Random(7)
    return [
        Membership(
            Program("web", str(each), host="h", version="", metadata=None, on_replaced=None),
            road,
            patience=Patience(uniform=rng.uniform),
        )
        for each in range(count)
    ]


@contextlib.asynccontextmanager
async def running(memberships):
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(each.run()) for each in memberships]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


def test_a_fleet_does_not_come_back_in_one_second():
    """Arrivals are spread evenly over what the manager said."""
    road = Road()

    async def scenario():
        async with running(programs(road, 100)):
            await asyncio.sleep(60)
            road.arrivals.clear()
            road.cut()
            lost_s = asyncio.get_running_loop().time()
            await asyncio.sleep(WITHIN_S + 1)
            after = sorted(at - lost_s for at, _ in road.arrivals)
            assert len(after) == 100
            assert after[-1] <= WITHIN_S
            each_second = [sum(n <= at < n + 1 for at in after) for n in range(10)]
            assert max(each_second) < 25
            assert all(opening.rejoins for _, opening in road.arrivals)

    in_virtual_time(scenario())


def test_a_fleet_that_waited_for_an_active_is_spread_as_well():
    """All of them hear of the new one in the same moment."""
    road = Road()

    async def scenario():
        async with running(programs(road, 100)):
            await asyncio.sleep(60)
            road.best = None
            road.cut()
            await asyncio.sleep(60)
            road.arrivals.clear()
            road.lead(6)
            begun_s = asyncio.get_running_loop().time()
            await asyncio.sleep(WITHIN_S + PAUSE_S_MAX)
            after = sorted(at - begun_s for at, _ in road.arrivals)
            assert len(after) == 100
            assert after[20] > 0.5
            assert after[-1] <= WITHIN_S + 0.1

    in_virtual_time(scenario())


def test_nobody_there_is_asked_seldom():
    """An hour without a manager is some seven hundred attempts, not a million."""
    road = Road()
    road.open = False

    async def scenario():
        async with running(programs(road, 1)):
            await asyncio.sleep(3600)

    in_virtual_time(scenario())

    assert 600 < road.attempts < 1600


def test_a_manager_that_takes_and_drops_is_not_asked_all_the_time():
    """A stream that lives for a moment is a failure, though it was opened."""
    road = Road(within_s=0)

    async def scenario():
        async with running(programs(road, 1)):
            for _ in range(6000):
                await asyncio.sleep(0.1)
                road.cut()

    in_virtual_time(scenario())

    assert road.attempts < 300


def test_that_nobody_is_there_is_said_ever_more_seldom_and_that_it_is_over(caplog):
    """With each address and why it is no help, in the sentence: fields are seldom shown."""
    road = Road()
    road.best = None
    road.silent = {"b:1": "TLS does not fit", "a:1": "connection refused"}
    told = []

    async def scenario():
        async with running(programs(road, 1)):
            await asyncio.sleep(4)
            told.append(len(caplog.records))
            await asyncio.sleep(3600)
            told.append(len(caplog.records))
            road.lead(6)
            await asyncio.sleep(PAUSE_S_MAX + 2)

    in_virtual_time(scenario())

    first, *_, last = caplog.records
    assert first.levelname == last.levelname == "WARNING"
    assert "a:1: connection refused; b:1: TLS does not fit" in first.getMessage()
    assert first.for_s <= 10
    assert told[0] == 0
    assert 8 < told[1] < 16
    assert len(caplog.records) == told[1] + 1
    assert "an active manager is found: b:1" in last.getMessage()


def test_an_active_that_takes_nobody_is_said_as_well(caplog):
    """It is known and cannot be reached: its address leads nowhere from here."""
    road = Road()
    road.open = False

    async def scenario():
        async with running(programs(road, 1)):
            await asyncio.sleep(30)

    in_virtual_time(scenario())

    assert "a:1: the manager ended the stream" in caplog.records[0].getMessage()
    assert 1 < len(caplog.records) < 5


def test_a_short_search_is_not_worth_a_word(caplog):
    """A failover is over before."""
    road = Road()
    road.best = None

    async def scenario():
        async with running(programs(road, 1)):
            await asyncio.sleep(3)
            road.lead(6)
            await asyncio.sleep(3)

    in_virtual_time(scenario())

    assert len(road.arrivals) == 1
    assert caplog.records == []


def test_what_cannot_be_sent_is_not_tried_all_the_time(caplog):
    """It would be a fault of the library, and the same each time."""
    road = Road()
    (membership,) = programs(road, 1)
    membership._program.hello = replace(membership._program.hello, version="\ud800")

    async def scenario():
        async with running([membership]):
            await asyncio.sleep(3600)

    in_virtual_time(scenario())

    assert 100 < len(caplog.records) < 300
    assert road.arrivals == []


@pytest.mark.parametrize("times", range(1, 20))
def test_pauses_grow_to_a_limit(times):
    """And never to nothing."""
    patience = Patience(uniform=lambda _, high: high)

    pauses = [patience.after_failure_s(UnreachableError("x")) for _ in range(times)]

    assert pauses == sorted(pauses)
    assert pauses[-1] <= PAUSE_S_MAX


def test_a_refusal_is_not_repeated_soon():
    """The same again is refused again."""
    patience = Patience(uniform=lambda low, _: low)

    assert patience.after_life_s(ReportRefusedError("name", "no"), 0) >= REFUSED_PAUSE_S / 2
