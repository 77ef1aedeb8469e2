"""When a program comes back: hours of it on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace

import grpc
import pytest

from mgr.client.daemon.membership import PAUSE_S_MAX, REFUSED_PAUSE_S, Backoff, Membership
from mgr.client.daemon.program import Program
from mgr.client.leader_search import LeaderHint
from mgr.errors import ReportRefusedError, UnreachableError
from mgr.rpc.v1.cluster_pb2 import Configure, ReportResponse
from tests.support.virtual_loop import VirtualClock, VirtualLoop

WITHIN_S = 10


class Stream:
    """A stream to a manager that takes everything, until the road is cut."""

    def __init__(self, connector):
        self.connector = connector
        self.over = asyncio.Event()
        self.answers = []

    def done(self):
        return self.over.is_set()

    def cancel(self):
        self.over.set()

    async def write(self, message):
        if message.HasField("report"):
            self.connector.reports.append(asyncio.get_running_loop().time())
        if not self.over.is_set() and message.HasField("open"):
            self.connector.arrivals.append((asyncio.get_running_loop().time(), message.open))
            configure = Configure(term=self.connector.best.term)
            configure.period.FromSeconds(5)
            configure.rejoin_within.FromSeconds(self.connector.within_s)
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


class Connector:
    """To one manager, which may be gone."""

    def __init__(self, within_s=WITHIN_S):
        self.within_s = within_s
        self.arrivals = []
        self.reports = []
        self.streams = []
        self.attempts = 0
        self.best = LeaderHint(5, "a:1")
        self.unhelpful = {}
        self.open = True
        self.changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def search(self):
        yield self

    async def wait_newer(self, term):
        while self.best is None or self.best.term <= term:
            await self.changed.wait()

    def lead(self, term):
        self.best = LeaderHint(term, "b:1")
        self.open = True
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

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


def programs(connector, count):
    rng = random.Random(7)
    return [
        Membership(
            Program("web", str(each), host="h", version="", metadata=None, on_replaced=None),
            connector,
            backoff=Backoff(uniform=rng.uniform),
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
    """Arrivals are spread evenly over the configured time."""
    connector = Connector()

    async def scenario():
        async with running(programs(connector, 100)):
            await asyncio.sleep(60)
            connector.arrivals.clear()
            connector.cut()
            lost_s = asyncio.get_running_loop().time()
            await asyncio.sleep(WITHIN_S + 1)
            after = sorted(at - lost_s for at, _ in connector.arrivals)
            assert len(after) == 100
            assert after[-1] <= WITHIN_S
            each_second = [sum(n <= at < n + 1 for at in after) for n in range(10)]
            assert max(each_second) < 25
            assert all(opening.rejoins for _, opening in connector.arrivals)

    in_virtual_time(scenario())


def test_a_fleet_that_waited_for_an_active_is_spread_as_well():
    """All of them find the new one at the same moment."""
    connector = Connector()

    async def scenario():
        async with running(programs(connector, 100)):
            await asyncio.sleep(60)
            connector.best = None
            connector.cut()
            await asyncio.sleep(60)
            connector.arrivals.clear()
            connector.lead(6)
            begun_s = asyncio.get_running_loop().time()
            await asyncio.sleep(WITHIN_S + PAUSE_S_MAX)
            after = sorted(at - begun_s for at, _ in connector.arrivals)
            assert len(after) == 100
            assert after[20] > 0.5
            assert after[-1] <= WITHIN_S + 0.1

    in_virtual_time(scenario())


def test_nobody_there_is_asked_seldom():
    """An hour without a manager is some seven hundred attempts, not a million."""
    connector = Connector()
    connector.open = False

    async def scenario():
        async with running(programs(connector, 1)):
            await asyncio.sleep(3600)

    in_virtual_time(scenario())

    assert 600 < connector.attempts < 1600


def test_a_manager_that_takes_and_drops_is_not_asked_all_the_time():
    """A stream that lives for a moment is a failure, though it was opened."""
    connector = Connector(within_s=0)

    async def scenario():
        async with running(programs(connector, 1)):
            for _ in range(6000):
                await asyncio.sleep(0.1)
                connector.cut()

    in_virtual_time(scenario())

    assert connector.attempts < 300


def test_many_failovers_do_not_keep_a_program_away():
    """Pauses that streams of one active made long end as soon as there is a newer one."""
    connector = Connector(within_s=0)

    async def scenario():
        async with running(programs(connector, 1)):
            for term in range(6, 40):
                await asyncio.sleep(0.5)
                connector.cut()
                connector.lead(term)
                connector.arrivals.clear()
                await asyncio.sleep(0.1)
                assert len(connector.arrivals) == 1, term

    in_virtual_time(scenario())


def test_a_missing_active_is_logged_ever_more_seldom_and_its_recovery_once(caplog):
    """With each address and why it is no help, in the sentence: fields are seldom shown."""
    connector = Connector()
    connector.best = None
    connector.unhelpful = {"b:1": "TLS does not fit", "a:1": "connection refused"}
    counts = []

    async def scenario():
        async with running(programs(connector, 1)):
            await asyncio.sleep(4)
            counts.append(len(caplog.records))
            await asyncio.sleep(3600)
            counts.append(len(caplog.records))
            connector.lead(6)
            await asyncio.sleep(PAUSE_S_MAX + 2)

    in_virtual_time(scenario())

    first, *_, last = caplog.records
    assert first.levelname == last.levelname == "WARNING"
    assert "a:1: connection refused; b:1: TLS does not fit" in first.getMessage()
    assert first.for_s <= 10
    assert counts[0] == 0
    assert 8 < counts[1] < 16
    assert len(caplog.records) == counts[1] + 1
    assert "active manager found: b:1" in last.getMessage()


def test_an_active_that_takes_no_daemon_is_logged_as_well(caplog):
    """It is known and cannot be reached: its address leads nowhere from here."""
    connector = Connector()
    connector.open = False

    async def scenario():
        async with running(programs(connector, 1)):
            await asyncio.sleep(30)

    in_virtual_time(scenario())

    assert "a:1: the manager ended the stream" in caplog.records[0].getMessage()
    assert 1 < len(caplog.records) < 5


def test_a_short_search_is_not_worth_a_word(caplog):
    """A failover is over before."""
    connector = Connector()
    connector.best = None

    async def scenario():
        async with running(programs(connector, 1)):
            await asyncio.sleep(3)
            connector.lead(6)
            await asyncio.sleep(3)

    in_virtual_time(scenario())

    assert len(connector.arrivals) == 1
    assert caplog.records == []


def test_what_cannot_be_sent_is_not_tried_all_the_time(caplog):
    """It would be a fault of the library, and the same each time."""
    connector = Connector()
    (membership,) = programs(connector, 1)
    membership._program.identity = replace(membership._program.identity, version="\ud800")

    async def scenario():
        async with running([membership]):
            await asyncio.sleep(3600)

    in_virtual_time(scenario())

    assert 100 < len(caplog.records) < 300
    assert connector.arrivals == []


@pytest.mark.parametrize("times", range(1, 20))
def test_pauses_grow_to_a_limit(times):
    """And never to nothing."""
    backoff = Backoff(uniform=lambda _, high: high)

    pauses = [backoff.after_failure_s(UnreachableError("x")) for _ in range(times)]

    assert pauses == sorted(pauses)
    assert pauses[-1] <= PAUSE_S_MAX


def test_a_refusal_is_not_repeated_soon():
    """The same again is refused again."""
    backoff = Backoff(uniform=lambda low, _: low)

    pause = backoff.after_stream(ReportRefusedError("name", "no"), 0)

    assert pause.least_s >= REFUSED_PAUSE_S / 2


def test_a_change_that_matters_is_reported_within_half_a_period():
    """However often that is asked for: the manager limits how many reports it takes."""
    connector = Connector()

    async def scenario():
        [member] = programs(connector, 1)
        async with running([member]):
            await asyncio.sleep(1)
            for _ in range(6):
                member.report_soon()
                await asyncio.sleep(0.1)
            await asyncio.sleep(20)

    in_virtual_time(scenario())
    first, *later = connector.reports
    assert [round(at_s - first, 1) for at_s in later[:3]] == [2.5, 7.5, 12.5]
