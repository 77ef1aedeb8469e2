"""Measure a no-op module command: session and unary, one and eight clients, and a bare echo.

The clients speak raw generated stubs to both servers, so that the same client work stands in
both figures; the product's own client is measured as one more row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from bench import echo
from bench.report import Report
from bench.setting import MODULES, Setting
from mgr.client.async_client import AsyncClient
from mgr.client.blocking import Client
from mgr.clock import CLOCK
from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc

WORDS = ["probe", "nop"]
ROUNDS = 3
MESSAGES = 2000
CLIENTS = 8
TARGETS = {
    "no-op module command, session": "<= 1.3 x echo",
    "no-op module command, unary": "<= 1.2 x echo",
    "no-op module command, session of mgr.client": "<= 1.15 x session",
    "no-op module command, blocking Client, local socket": "p50 <= 0.15",
    "eight clients, session": ">= 0.75 x echo",
}
RATIOS = (
    ("no-op module command, session", "reference: bare aio stream echo"),
    ("no-op module command, unary", "reference: bare aio unary echo"),
    ("no-op module command, session of mgr.client", "no-op module command, session"),
    ("eight clients, session", "reference: eight, echo"),
)


async def _over_session(address: str, messages: int) -> list[float]:
    """Milliseconds a message, one at a time over one stream."""
    found = []
    async with grpc.aio.insecure_channel(address) as channel:
        call = command_pb2_grpc.CommandServiceStub(channel).Session()
        for number in range(messages + 50):
            begun = CLOCK.now()
            await call.write(
                pb.SessionRequest(id=number + 1, execute=pb.ExecuteRequest(words=WORDS))
            )
            answer = await call.read()
            found.append((CLOCK.now() - begun) * 1e3)
            assert answer.response.retval == 0, answer
        await call.done_writing()
    return found[50:]


async def _unary(address: str, messages: int) -> list[float]:
    found = []
    async with grpc.aio.insecure_channel(address) as channel:
        stub = command_pb2_grpc.CommandServiceStub(channel)
        for _ in range(messages + 50):
            begun = CLOCK.now()
            answer = await stub.Execute(pb.ExecuteRequest(words=WORDS), timeout=5)
            found.append((CLOCK.now() - begun) * 1e3)
            assert answer.retval == 0, answer
    return found[50:]


async def _own_client(address: str, messages: int) -> list[float]:
    found = []
    async with AsyncClient([address]) as client, client.session() as session:
        for _ in range(messages + 50):
            begun = CLOCK.now()
            answer = await session.execute(WORDS)
            found.append((CLOCK.now() - begun) * 1e3)
            assert answer.retval == 0, answer
    return found[50:]


async def _blocking(server: str, messages: int) -> list[float]:
    """The same with the blocking client: by gRPC, or by the local socket if it is a path."""
    local, addresses = (server, ["127.0.0.1:1"]) if server.startswith("/") else (None, [server])

    def commands() -> list[float]:
        found = []
        with Client(addresses, local=local) as client:
            for _ in range(messages + 50):
                begun = CLOCK.now()
                answer = client.execute(WORDS)
                found.append((CLOCK.now() - begun) * 1e3)
                assert answer.retval == 0, answer
        return found[50:]

    return await asyncio.to_thread(commands)


async def _rate(kind: Callable[[str, int], Awaitable[list[float]]], address: str) -> float:
    """Answers a second that ``CLIENTS`` concurrent clients get together."""
    begun = CLOCK.now()
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(kind(address, MESSAGES))
    return CLIENTS * (MESSAGES + 50) / (CLOCK.now() - begun)


async def _measure(ours: str, local: str, echo: str) -> Report:
    report = Report("Commands", "python -m bench command")
    latencies: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for what, kind, address in (
            ("no-op module command, session", _over_session, ours),
            ("reference: bare aio stream echo", _over_session, echo),
            ("no-op module command, unary", _unary, ours),
            ("reference: bare aio unary echo", _unary, echo),
            ("no-op module command, session of mgr.client", _own_client, ours),
            ("no-op module command, blocking Client", _blocking, ours),
            ("no-op module command, blocking Client, local socket", _blocking, local),
        ):
            latencies.setdefault(what, []).extend(await kind(address, MESSAGES))
        for what, address in (("eight clients, session", ours), ("reference: eight, echo", echo)):
            rates.setdefault(what, []).append(await _rate(_over_session, address))
    for what, samples in latencies.items():
        report.add(what, samples, target=TARGETS.get(what, ""))
    for what, samples in rates.items():
        report.add(what, samples, unit="/s", target=TARGETS.get(what, ""))
    middles = {one.what: one.percentile(0.5) for one in report.series}
    for what, other in RATIOS:
        report.notes.append(f"{what}: p50 is {middles[what] / middles[other]:.2f} x '{other}'")
    report.notes.append("server, client and etcd share the cores named above")
    return report


def run() -> Report:
    """Start what is needed, measure, stop it."""
    with Setting(names=()) as setting:
        path = str(setting.cluster.directory / "a.sock")
        manager = setting.cluster.add("a", module_path=MODULES, unix_socket=path)
        manager.start()
        address = setting.cluster.active(60).grpc_address
        setting.cluster.enable("probe")
        setting.cluster.run("probe", "nop")
        with echo.running() as (_, bare):
            return asyncio.run(_measure(address, path, bare))
