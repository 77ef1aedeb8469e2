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
from bench.setting import Setting
from mgr.client.async_client import AsyncClient
from mgr.clock import CLOCK
from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc

WORDS = ["probe", "nop"]
ROUNDS = 3
MESSAGES = 2000
CLIENTS = 8


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


async def _rate(kind: Callable[[str, int], Awaitable[list[float]]], address: str) -> float:
    """Answers a second that ``CLIENTS`` concurrent clients get together."""
    begun = CLOCK.now()
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(kind(address, MESSAGES))
    return CLIENTS * (MESSAGES + 50) / (CLOCK.now() - begun)


async def _measure(ours: str, echo: str) -> Report:
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
        ):
            latencies.setdefault(what, []).extend(await kind(address, MESSAGES))
        for what, address in (("eight clients, session", ours), ("reference: eight, echo", echo)):
            rates.setdefault(what, []).append(await _rate(_over_session, address))
    for what, samples in latencies.items():
        target = "p50 <= 0.30, <= 1.5 x echo" if what.endswith("command, session") else ""
        report.add(what, samples, target=target)
    for what, samples in rates.items():
        target = ">= 5000" if what.startswith("eight") else ""
        report.add(what, samples, unit="/s", target=target)
    ratio = report.series[0].percentile(0.5) / report.series[1].percentile(0.5)
    report.notes.append(f"session p50 is {ratio:.2f} x the bare echo's")
    report.notes.append("server, client and etcd share the cores named above")
    return report


def run() -> Report:
    """Start what is needed, measure, stop it."""
    with Setting(names=("a",)) as setting:
        setting.cluster.active()
        setting.cluster.enable("probe")
        setting.cluster.run("probe", "nop")
        address = setting.cluster.active().grpc_address
        with echo.running() as (_, bare):
            report = asyncio.run(_measure(address, bare))
    return report
