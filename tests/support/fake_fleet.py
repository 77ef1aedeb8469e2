"""Managers that take a fleet's reports, as ``cluster.proto`` promises: real servers, simple inside.

Messages of daemons are kept as they came; the limits of a real manager are not enforced.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc

from mgr.access.table import Access
from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.errors import MgrError, NotActiveError, ReplacedError
from mgr.rpc.arriving import ArrivingRequests
from mgr.rpc.authorization import Authorizer
from mgr.rpc.codec import value_of
from mgr.rpc.edge import Edge, EdgeServer
from mgr.rpc.gated import GateEnforcer
from mgr.rpc.limits import StreamLimits
from mgr.rpc.unread import UnreadAnswers
from mgr.rpc.v1 import cluster_pb2, cluster_pb2_grpc, manager_pb2, manager_pb2_grpc
from mgr.rpc.v1.command_pb2 import ExecuteRequest, ExecuteResponse, SessionResponse
from mgr.store.keys import Keys
from mgr.worker.gate import Gate

PERIOD_S = 0.05
ANSWER_S = 5.0
OPTIONS = [
    ("grpc.so_reuseport", 0),
    # As the real server: clients may ask for signs of life.
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    ("grpc.keepalive_permit_without_calls", 1),
]


@dataclass
class Joined:
    """One stream, and what came over it."""

    opening: cluster_pb2.Open
    term: int
    declared: list[cluster_pb2.CounterDeclaration] = field(default_factory=list)
    reports: list[cluster_pb2.Report] = field(default_factory=list)
    declarations: list[cluster_pb2.Declare] = field(default_factory=list)
    calls: list[ExecuteRequest] = field(default_factory=list)
    closed: bool = False
    ended: bool = False
    out: asyncio.Queue = field(default_factory=asyncio.Queue)
    answers: dict[int, asyncio.Future] = field(default_factory=dict)
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    @property
    def name(self):
        return f"{self.opening.type}.{self.opening.id}"

    def counters(self):
        """The newest values by path and labels."""
        values = list(next(each.values for each in reversed(self.reports) if each.values))
        found = {}
        for counter in self.declared:
            labels = ",".join(f"{k}={v}" for k, v in sorted(counter.labels.items()))
            path = f"{counter.group}.{counter.name}" + (f"{{{labels}}}" if labels else "")
            count = {
                cluster_pb2.COUNTER_KIND_AVERAGE: 2,
                cluster_pb2.COUNTER_KIND_HISTOGRAM: len(counter.bounds) + 2,
            }.get(counter.kind, 1)
            found[path], values = values[:count], values[count:]
        assert not values, "more values than were declared"
        return found

    async def tell(self, *words, timeout_s=ANSWER_S, inbuf=b"", **arguments) -> ExecuteResponse:
        """Run a command of the daemon."""
        number = next(self.numbers)
        command = cluster_pb2.DaemonCommand(
            id=number,
            execute=ExecuteRequest(
                words=words,
                arguments={name: value_of(name, value) for name, value in arguments.items()},
                input=inbuf,
            ),
        )
        command.timeout.FromNanoseconds(int(timeout_s * 1e9))
        self.answers[number] = asyncio.get_running_loop().create_future()
        self.out.put_nowait(cluster_pb2.ReportResponse(command=command))
        async with asyncio.timeout(ANSWER_S):
            return await self.answers[number]

    def configure(self, *, period_s=PERIOD_S, lowest_priority=0, rejoin_within_s=0.0):
        """Want reports otherwise."""
        self.out.put_nowait(configure(self.term, period_s, lowest_priority, rejoin_within_s))

    def end(self, error: MgrError):
        """End the stream with ``error``."""
        self.out.put_nowait(error)


def configure(term, period_s=PERIOD_S, lowest_priority=0, rejoin_within_s=0.0):
    message = cluster_pb2.Configure(lowest_priority=lowest_priority, term=term)
    message.period.FromNanoseconds(int(period_s * 1e9))
    message.rejoin_within.FromNanoseconds(int(rejoin_within_s * 1e9))
    return cluster_pb2.ReportResponse(configure=message)


class EmptyTable:
    """A ``Reader`` without records: nobody has an entry, and the cluster demands nothing."""

    def get(self, _key):
        return None

    def list(self, _prefix):
        return {}


OPEN = Access(EmptyTable(), Keys("fake"))
"""Nobody is in the table: everybody may do everything."""


class FakeManager(cluster_pb2_grpc.ClusterServiceServicer, manager_pb2_grpc.ManagerServiceServicer):
    """One manager: takes reports while it leads."""

    def __init__(self, name, fleet):
        self.name = name
        self.fleet = fleet
        self.refuses: list[MgrError] = []
        self.reached_at = ""
        self.opened = 0
        self.replaced: set[str] = set()
        self.lowest_priority = 0
        self.streams: list[Joined] = []
        self.log: list[Joined] = []

    async def start(self, port=0):
        # It refuses by itself where it does not lead.
        gate = Gate(CLOCK, lambda: None)
        gate.extend(1, math.inf)
        edge = Edge(
            Authorizer(OPEN, certificates=False, encrypted=False),
            GateEnforcer(gate, CLOCK, hold_s=1),
            StreamLimits(limits := ClientLimits(CLOCK.now), 1000),
            UnreadAnswers(limits),
            ArrivingRequests(limits),
        )
        self.server = EdgeServer(grpc.aio.server(options=OPTIONS), edge)
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(self, self.server)
        manager_pb2_grpc.add_ManagerServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()

    @property
    def address(self):
        """Where others are sent."""
        return self.reached_at or f"127.0.0.1:{self.port}"

    @property
    def leads(self):
        return self.fleet.leader is self

    def refusal(self):
        leader = self.fleet.leader
        if leader is None:
            return NotActiveError(None)
        return NotActiveError(leader.address, active_name=leader.name, term=self.fleet.term)

    def __getitem__(self, name) -> Joined:
        """The living stream of a daemon."""
        return next(each for each in reversed(self.streams) if each.name == name)

    async def WatchActive(self, request, context):  # noqa: N802 - the proto's
        while True:
            changed, leader = self.fleet.changed, self.fleet.leader
            said = manager_pb2.WatchActiveResponse(name=self.name)
            if leader is not None:
                said.active.CopyFrom(
                    manager_pb2.Active(
                        name=leader.name, term=self.fleet.term, grpc_address=leader.address
                    )
                )
            await context.write(said)
            await changed.wait()

    async def Report(self, messages, context):  # noqa: N802 - the proto's
        self.opened += 1
        if self.refuses:
            raise self.refuses.pop(0)
        if not self.leads:
            raise self.refusal()
        first = await context.read()
        joined = Joined(first.open, self.fleet.term)
        replaced = ReplacedError(f"another {joined.name} has joined")
        if joined.opening.incarnation in self.replaced:
            raise replaced
        for older in [each for each in self.streams if each.name == joined.name]:
            if older.opening.incarnation != joined.opening.incarnation:
                self.replaced.add(older.opening.incarnation)
            older.end(replaced)
            self.streams.remove(older)
        self.streams.append(joined)
        self.log.append(joined)
        await context.write(configure(self.fleet.term, lowest_priority=self.lowest_priority))
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(joined, context))
                while (message := await joined.out.get()) is not None:
                    if isinstance(message, MgrError):
                        reading.cancel()
                        break
                    await context.write(message)
        finally:
            joined.ended = True
            with contextlib.suppress(ValueError):
                self.streams.remove(joined)
        if isinstance(message, MgrError):
            raise message

    async def _read(self, joined, context):
        while (message := await context.read()) is not grpc.aio.EOF:
            match message.WhichOneof("kind"):
                case "declare":
                    if message.declare.replace:
                        joined.declared.clear()
                    joined.declared.extend(message.declare.counters)
                    joined.declarations.append(message.declare)
                case "report":
                    assert message.report.sequence == len(joined.reports) + 1
                    joined.reports.append(message.report)
                case "result":
                    waiting = joined.answers.pop(message.result.id, None)
                    if waiting and not waiting.done():
                        waiting.set_result(message.result.response)
                case "call" if message.call.WhichOneof("kind") == "execute":
                    joined.calls.append(message.call.execute)
                    joined.out.put_nowait(
                        cluster_pb2.ReportResponse(answer=self._answer(message.call))
                    )
                case "close":
                    joined.closed = True
        joined.out.put_nowait(None)

    def _answer(self, call):
        said = " ".join(call.execute.words).encode()
        return SessionResponse(
            id=call.id, response=ExecuteResponse(stdout=said, term=self.fleet.term)
        )

    async def kill(self):
        """Be gone at once, with every connection."""
        await self.server.stop(None)


class FakeFleet:
    """Several managers that agree on who leads."""

    def __init__(self, names):
        self.managers = {name: FakeManager(name, self) for name in names}
        self.leader: FakeManager | None = None
        self.term = 0
        self.changed = asyncio.Event()

    def __getitem__(self, name):
        return self.managers[name]

    @property
    def hosts(self):
        return [manager.address for manager in self.managers.values()]

    def lead(self, name):
        """Let ``name`` lead (None: nobody); the streams of who led before end with the hint."""
        before = self.leader
        self.leader = self.managers.get(name)
        self.term += 1
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
        if before is not None:
            for joined in list(before.streams):
                joined.end(before.refusal())
        return self.leader


@contextlib.asynccontextmanager
async def fake_fleet(*names: str) -> AsyncIterator[FakeFleet]:
    """Run managers of these names; none leads yet."""
    fleet = FakeFleet(names)
    try:
        for manager in fleet.managers.values():
            await manager.start()
        yield fleet
    finally:
        for manager in fleet.managers.values():
            await manager.kill()


async def joined(fleet, until, name="web.eu-1"):
    """The daemon's stream at whoever leads, once it has reported."""

    def there():
        streams = fleet.leader.streams
        return any(each.name == name and each.reports for each in streams)

    await until(there)
    return fleet.leader[name]
