"""CPU time of one command, by road and by process: what a profile is about.

Processor time can be compared on a busy machine, where waiting times cannot.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import grpc

from bench import echo
from bench.command import WORDS
from bench.cores import cpu_s
from bench.report import Report
from bench.setting import MODULES, PATIENT, Setting
from mgr.client.async_client import AsyncClient
from mgr.client.blocking import Client
from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc

ROUNDS: Final = 7
WARM_UP: Final = 100
MESSAGES: Final = 500
MGRCTL: Final = Path(sys.executable).with_name("mgrctl")
MGRCTL_RUNS: Final = 20

Mark = Callable[[], None]
"""Called when everything is connected and warm."""
Road = Callable[[Mark], None]


def run() -> Report:
    """Measure every road in turn."""
    report = Report("Processor time of a command", "python -m bench cpu")
    with Setting(names=()) as setting:
        path = str(setting.cluster.directory / "a.sock")
        manager = setting.cluster.add("a", module_path=MODULES, unix_socket=path, **PATIENT)
        manager.start()
        setting.cluster.active(60)
        setting.cluster.enable("probe")
        with echo.running() as (echo_pid, bare):
            worker, ours = manager.worker_pid, manager.grpc_address
            roads: dict[str, tuple[int, Road]] = {
                "reference: bare stream echo": (echo_pid, _in_loop(_over_session, bare)),
                "session": (worker, _in_loop(_over_session, ours)),
                "session of mgr.client": (worker, _in_loop(_own_session, ours)),
                "reference: bare unary echo": (echo_pid, _in_loop(_unary, bare)),
                "unary": (worker, _in_loop(_unary, ours)),
                "blocking Client": (worker, lambda mark: _blocking(ours, None, mark)),
                "blocking Client, local socket": (
                    worker,
                    lambda mark: _blocking(ours, path, mark),
                ),
            }
            for what, (server, client) in _measured(roads).items():
                report.add(f"{what}: server", server, unit="us")
                report.add(f"{what}: client", client, unit="us")
        _add_mgrctl(report, ours, path)
    return report


def _measured(roads: dict[str, tuple[int, Road]]) -> dict[str, tuple[list[float], list[float]]]:
    found: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in roads}
    for _ in range(ROUNDS):
        for what, (pid, road) in roads.items():
            begun: list[tuple[float, float]] = []
            road(lambda pid=pid, begun=begun: begun.append((cpu_s(pid), time.process_time())))
            ended = cpu_s(pid), time.process_time()
            for samples, before, after in zip(found[what], begun[0], ended, strict=True):
                samples.append((after - before) / MESSAGES * 1e6)
    return found


def _in_loop(kind: Callable[[str, Mark], Awaitable[None]], address: str) -> Road:
    return lambda mark: asyncio.run(kind(address, mark))  # type: ignore[arg-type]  # coroutines


async def _over_session(address: str, mark: Mark) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        call = command_pb2_grpc.CommandServiceStub(channel).Session()
        for number in range(-WARM_UP, MESSAGES):
            if number == 0:
                mark()
            execute = pb.ExecuteRequest(words=WORDS)
            await call.write(pb.SessionRequest(id=number + WARM_UP + 1, execute=execute))
            await call.read()
        await call.done_writing()


async def _unary(address: str, mark: Mark) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = command_pb2_grpc.CommandServiceStub(channel)
        for number in range(-WARM_UP, MESSAGES):
            if number == 0:
                mark()
            await stub.Execute(pb.ExecuteRequest(words=WORDS), timeout=30)


async def _own_session(address: str, mark: Mark) -> None:
    async with AsyncClient([address]) as client, client.session() as session:
        for number in range(-WARM_UP, MESSAGES):
            if number == 0:
                mark()
            await session.execute(WORDS, timeout_s=30)


def _blocking(address: str, local: str | None, mark: Mark) -> None:
    with Client([address], local=local) as client:
        for number in range(-WARM_UP, MESSAGES):
            if number == 0:
                mark()
            client.execute(WORDS, timeout_s=30)


def _add_mgrctl(report: Report, address: str, path: str) -> None:
    """Processor time of a whole ``mgrctl status``, its start included."""
    cache = str(Path(path).with_name("cache"))
    for what, most_ms, environment in (
        ("by gRPC", 210, {"MGR_HOSTS": address, "XDG_CACHE_HOME": cache}),
        ("by the local socket", 200, {"MGR_UNIX_SOCKET": path, "XDG_CACHE_HOME": cache}),
    ):
        samples = []
        for _ in range(MGRCTL_RUNS):
            command = [sys.executable, "-c", MEASURED, str(MGRCTL), "status"]
            done = subprocess.run(command, env=environment, capture_output=True, check=True)
            samples.append(float(done.stderr.split()[-1]) * 1e3)
        report.add(f"mgrctl status, {what}: in all", samples, target=f"p50 <= {most_ms}")


MEASURED: Final = """\
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, file=sys.stderr)
"""
