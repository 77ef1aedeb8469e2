"""Simulated daemons: thousands of report streams in a few processes, as cheap as they can be.

Raw stubs, one connection for up to a thousand streams. To the manager each is a daemon of its
own: it opens, declares its counters and reports them once a period, at a moment of its own within
it; when its stream ends it looks for the active and comes back.

Two of the counters say what the benchmark wants to know. ``sim.reports`` is how many reports the
daemon has ever sent: a hole in its ring is a report that was lost. ``sim.sent_at`` is when this
one was sent: a point tells how long it was under way.

Driven by lines on standard input: ``join``, ``fill N`` (each sends N reports at once), ``report``
(each, from now on, once a period) and ``stat``. Each is answered, when it is done, by one line of
JSON on standard output. All ends with standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from mgr.client.peers import OPTIONS
from mgr.clock import CLOCK, wall_s
from mgr.errors import MgrError, NotActiveError
from mgr.rpc.status import error_of
from mgr.rpc.v1 import cluster_pb2 as pb

KIND: Final = "sim"
OWN: Final = ("reports", "sent_at")
METHOD: Final = "/mgr.rpc.v1.ClusterService/Report"
JOINS_PER_S: Final = 1000
HOSTS: Final = 100
LIMIT_S: Final = 600.0
"""What takes longer has gone wrong: streams were lost that should not be."""
RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 1.0
"""Pause after an attempt that found no active: half of it at random, twice as long each time."""


@dataclass(slots=True)
class Figures:
    """What ``stat`` answers: sums since the start, lists since the ``stat`` before.

    Attributes:
        here: Daemons that have an open stream and have declared.
        sent: Reports handed to gRPC.
        late_ms: How much later than due each was.
        returns: Of each daemon that came back, by number: when, on the boot clock, it reported
            again, and how many seconds after its last report.
        errors: Why streams ended and attempts failed, and how often.

    """

    here: int = 0
    sent: int = 0
    late_ms: list[float] = field(default_factory=list)
    returns: dict[int, tuple[float, float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)


class Fleet:
    """All daemons of this process and what they have in common."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.addresses: list[str] = options.addresses
        self.period_s: float = options.period
        self.declaration = _declaration(options.counters)
        self.constant = [float(number) for number in range(len(OWN), options.counters)]
        self.figures = Figures()
        self.filling = asyncio.Event()
        self.fill = 0
        self.reporting = asyncio.Event()
        self.rejoin_s = 0.0
        self._all: int = options.daemons
        self._daemons = [Daemon(self, number) for number in range(options.first, options.end)]
        self._streams_max: int = options.streams
        self._channels: dict[tuple[str, int], Any] = {}

    async def obey(self, line: str, tasks: asyncio.TaskGroup) -> dict[str, Any]:
        """Execute one line; return the answer."""
        begun = CLOCK.now()
        match line.split():
            case ["join"]:
                for daemon in self._daemons:
                    tasks.create_task(daemon.live())
                await _until(lambda: self.figures.here == len(self._daemons))
            case ["fill", count]:
                self.fill = int(count)
                self.filling.set()
                await _until(lambda: self.figures.sent >= self.fill * len(self._daemons))
            case ["report"]:
                for daemon in self._daemons:
                    daemon.due_at = begun + self.period_s * daemon.number / self._all
                self.reporting.set()
            case ["stat"]:
                figures = self.figures
                self.figures = Figures(figures.here, figures.sent, errors=figures.errors)
                return {name: getattr(figures, name) for name in Figures.__slots__}
            case _:
                raise ValueError(line)
        return {"seconds": CLOCK.now() - begun}

    def channel(self, address: str, number: int) -> Any:
        """The connection to ``address`` that the daemon ``number`` shares with its neighbours."""
        key = (address, number // self._streams_max)
        channel = self._channels.get(key)
        if channel is None or channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            # As the product's client does: gRPC's own pauses would be measured here.
            channel = self._channels[key] = grpc.aio.insecure_channel(address, options=OPTIONS)
        return channel


class Daemon:
    """One simulated daemon."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self.number = number
        self.due_at = 0.0
        self._fleet = fleet
        self._reports = 0
        self._sent_at = 0.0

    async def live(self) -> None:
        """Report for ever to whichever manager is active."""
        fleet = self._fleet
        await asyncio.sleep(self.number / JOINS_PER_S)
        turn, hint, retry_s = self.number, "", RETRY_S
        while True:
            address = hint or fleet.addresses[turn % len(fleet.addresses)]
            been_there, error = await self._belong(address)
            fleet.figures.errors[type(error).__name__] += 1
            hint = error.active_address or "" if isinstance(error, NotActiveError) else ""
            if not hint or hint == address:
                turn, hint = turn + 1, ""
                retry_s = RETRY_S if been_there else min(2 * retry_s, RETRY_S_MAX)
                pause = (0.0, fleet.rejoin_s) if been_there else (retry_s / 2, retry_s)
                await asyncio.sleep(random.uniform(*pause))

    async def _belong(self, address: str) -> tuple[bool, MgrError | None]:
        """Open a stream and report on it until it ends: whether it was let in, why it ended."""
        call = self._fleet.channel(address, self.number).stream_stream(
            METHOD,
            request_serializer=_serialized,
            response_deserializer=pb.ReportResponse.FromString,
        )()
        here = False
        try:
            await call.write(self._open())
            answer = await call.read()
            if answer is not grpc.aio.EOF:
                self._fleet.rejoin_s = answer.configure.rejoin_within.ToNanoseconds() / 1e9
                await call.write(self._fleet.declaration)
                here = True
                self._fleet.figures.here += 1
                await self._report(call)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the call knows best why
        self._fleet.figures.here -= here
        return here, await _why(call)

    async def _report(self, call: Any) -> None:
        fleet = self._fleet
        ended = asyncio.Event()
        call.add_done_callback(lambda _: ended.set())
        first = self._reports + 1
        if self._reports:
            since_s = CLOCK.now() - self._sent_at
            await self._send(call, 1)
            fleet.figures.returns[self.number] = (self._sent_at, since_s)
        else:
            await fleet.filling.wait()
            for sequence in range(1, fleet.fill + 1):
                await self._send(call, sequence)
            await fleet.reporting.wait()
        while not ended.is_set():
            now_s = CLOCK.now()
            while self.due_at < now_s - fleet.period_s:
                self.due_at += fleet.period_s
            if self.due_at <= now_s:
                fleet.figures.late_ms.append((now_s - self.due_at) * 1e3)
                self.due_at += fleet.period_s
                await self._send(call, self._reports - first + 2)
            else:
                await _ended_within(ended, self.due_at - now_s)

    async def _send(self, call: Any, sequence: int) -> None:
        values = [self._reports + 1, wall_s(), *self._fleet.constant]
        report = pb.Report(sequence=sequence, values=values)
        await call.write(pb.ReportRequest(report=report).SerializeToString())
        self._reports += 1
        self._sent_at = CLOCK.now()
        self._fleet.figures.sent += 1

    def _open(self) -> bytes:
        message = pb.Open(
            type=KIND,
            id=str(self.number),
            host=f"host-{self.number % HOSTS}",
            version="1.0",
            metadata={"os": "Linux", "arch": "x86_64", "cpus": "8"},
            incarnation=str(os.getpid()),
            rejoins=bool(self._reports),
        )
        message.now.GetCurrentTime()
        return pb.ReportRequest(open=message).SerializeToString()


def _declaration(counters: int) -> bytes:
    names = [*OWN, *(f"counter_{number}" for number in range(len(OWN), counters))]
    declared = [
        pb.CounterDeclaration(
            group=KIND, name=name, kind=pb.COUNTER_KIND_GAUGE, priority=5, description=f"The {name}"
        )
        for name in names
    ]
    return pb.ReportRequest(declare=pb.Declare(counters=declared)).SerializeToString()


def _serialized(message: bytes) -> bytes:
    return message


async def _why(call: Any) -> MgrError | None:
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error_of(error)
    return None


async def _until(true: Callable[[], bool]) -> None:
    # A word from each of ten thousand would cost more than a look now and then.
    async with asyncio.timeout(LIMIT_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _ended_within(ended: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        pass


async def main(options: argparse.Namespace) -> None:
    """Execute the commands on standard input until it ends."""
    fleet = Fleet(options)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await fleet.obey(line, tasks)), flush=True)
        # The streams end with the process: daemons that are lost, not that leave.
        os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.daemons", description=__doc__)
    parser.add_argument("--daemons", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first of them in this process")
    parser.add_argument("--end", type=int, default=1000, help="the first that is in the next one")
    parser.add_argument("--counters", type=int, default=100)
    parser.add_argument("--period", type=float, default=5.0, help="seconds between two reports")
    parser.add_argument("--streams", type=int, default=1000, help="daemons on one connection")
    parser.add_argument("addresses", nargs="+", help="host:port of each manager")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(_options()))
