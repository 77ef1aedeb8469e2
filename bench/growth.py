"""What grows how: the same few figures with more modules, more keys in etcd, and more clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from bench.between_modules import LISTENER
from bench.command import WORDS
from bench.plot import Line, Panel, Point, draw
from bench.report import Report, Series
from bench.setting import MODULES, Setting
from mgr.clock import CLOCK
from mgr.errors import MgrError
from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc
from mgr.store.api import Put
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from tests.support import process

MODULE_COUNTS: Final = (1, 10, 100)
KEY_COUNTS: Final = tuple(
    int(count) for count in os.environ.get("BENCH_KEYS", "1000,10000,100000").split(",")
)
"""A million takes minutes and a gigabyte: BENCH_KEYS=1000,10000,100000,1000000."""
CLIENT_COUNTS: Final = (1, 10, 100, 500)
COMMANDS: Final = 2000
CHANGES: Final = 200
KEYS_AT_ONCE: Final = 100
FILLED_WITHIN_S: Final = 600.0
START_S: Final = 120.0
VALUE: Final = "x" * 100


def run() -> Report:
    """Measure each growth, draw it, and say what grows how."""
    report = Report("Growth", "python -m bench growth")
    panels = [_modules(report), _keys(report), _clients(report)]
    report.notes.append(draw("growth", panels))
    return report


def _modules(report: Report) -> Panel:
    lines: dict[str, list[Point]] = {"no-op command, ms": [], "start, s": [], "worker, 100 MiB": []}
    for count in MODULE_COUNTS:
        with _with_modules(count) as setting:
            commands = asyncio.run(_in_turn(setting.cluster.active(START_S).grpc_address, COMMANDS))
            manager = setting.cluster.managers["a"]
            memory_mib = process.resident_mib(manager.worker_pid)
            start_s = _restarted(setting)
        _add(report, lines, (count, "modules"), commands, start_s, memory_mib)
    _judge(report, "modules", lines)
    return _panel("Modules", "modules", lines)


def _keys(report: Report) -> Panel:
    lines: dict[str, list[Point]] = {"no-op command, ms": [], "start, s": [], "worker, 100 MiB": []}
    changes: list[Point] = []
    for count in KEY_COUNTS:
        with Setting(names=("a",)) as setting:
            setting.cluster.active(START_S)
            setting.cluster.enable("probe")
            asyncio.run(_fill(setting, count))
            start_s = _restarted(setting)
            commands = asyncio.run(_in_turn(setting.cluster.active(START_S).grpc_address, COMMANDS))
            memory_mib = process.resident_mib(setting.cluster.managers["a"].worker_pid)
            found = setting.cluster.run(
                "probe", "writes", setting.cluster.etcd[0], rounds=CHANGES, timeout_s=120
            )
            writes: dict[str, list[float]] = json.loads(found.stdout)
        _add(report, lines, (count, "keys"), commands, start_s, memory_mib)
        for what in ("set_store", "set_module_option"):
            report.add(f"{count} keys: {what}", writes[what])
        changes.append((count, Series("", writes["set_store"]).percentile(0.5)))
    lines["set_store, ms"] = changes
    _judge(report, "keys", lines)
    return _panel("Keys in etcd", "keys", lines)


def _clients(report: Report) -> Panel:
    rates: list[Point] = []
    waits: list[Point] = []
    with Setting(names=("a",)) as setting:
        address = setting.cluster.active(START_S).grpc_address
        setting.cluster.enable("probe")
        setting.cluster.run("probe", "nop")
        for count in CLIENT_COUNTS:
            begun = CLOCK.now()
            each = max(COMMANDS // count, 20)
            samples = asyncio.run(_at_once(address, count, each))
            rate = count * each / (CLOCK.now() - begun)
            report.add(f"{count} clients: no-op command", samples)
            report.add(f"{count} clients: answers", [rate], unit="/s")
            rates.append((count, rate / 1e3))
            waits.append((count, Series("", samples).percentile(0.5)))
    lines = {"answers, 1000/s": rates, "no-op command, ms": waits}
    # One client waits while the manager's other core rests: a queue begins with the second.
    _judge(report, "clients", {"no-op command, ms": waits})
    return _panel("Clients at once", "clients", lines)


def _add(
    report: Report,
    lines: dict[str, list[Point]],
    size: tuple[int, str],
    commands: Sequence[float],
    start_s: float,
    memory_mib: float,
) -> None:
    count, what = size
    report.add(f"{count} {what}: no-op command, session", commands)
    report.add(f"{count} {what}: exec -> first command answered", [start_s], unit="s")
    report.add(f"{count} {what}: memory of the worker", [memory_mib], unit="MiB")
    lines["no-op command, ms"].append((count, Series("", commands).percentile(0.5)))
    lines["start, s"].append((count, start_s))
    lines["worker, 100 MiB"].append((count, memory_mib / 100))


def _judge(report: Report, what: str, lines: dict[str, list[Point]]) -> None:
    """Say how each figure grows: the exponent between the two largest sizes; 1 is linear."""
    for name, points in lines.items():
        if len(points) < 2:
            continue
        (x1, y1), (x2, y2) = points[-2:]
        exponent = math.log(y2 / y1) / math.log(x2 / x1)
        word = "does not grow" if exponent < 0.1 else f"grows as {what}^{exponent:.2f}"
        report.notes.append(
            f"{name} {word} from {x1:g} to {x2:g} {what} ({y1:.3g} to {y2:.3g})"
            + ("" if exponent <= 1.05 else ": WORSE THAN LINEAR")
        )


def _panel(title: str, x: str, lines: dict[str, list[Point]]) -> Panel:
    drawn = [Line(name, points) for name, points in lines.items() if points]
    return Panel(title, x, "", drawn, log_x=True, log_y=True)


@contextlib.contextmanager
def _with_modules(count: int) -> Iterator[Setting]:
    names = [f"listener{number}" for number in range(count - 1)]
    with tempfile.TemporaryDirectory(prefix="mgr-bench-growth-") as folder:
        for name in names:
            (Path(folder) / name).symlink_to(LISTENER)
        with Setting(names=("a",), module_path=f"{MODULES},{folder}") as setting:
            setting.cluster.active(START_S)
            setting.cluster.enable("probe", *names)
            setting.cluster.run("probe", "nop", timeout_s=60)
            yield setting


def _restarted(setting: Setting) -> float:
    """Seconds from exec of the manager to its first module command answered."""
    manager = setting.cluster.managers["a"]
    manager.stop()
    begun, pause = CLOCK.now(), threading.Event()
    manager.start()
    with setting.cluster.client() as client:
        while CLOCK.now() - begun < START_S:
            with contextlib.suppress(MgrError):
                if client.execute(list(WORDS), timeout_s=1).retval == 0:
                    return CLOCK.now() - begun
            pause.wait(0.01)
    raise TimeoutError(f"waited {START_S:g} s for the first answer of a restarted manager")


async def _fill(setting: Setting, count: int) -> None:
    """Store ``count`` entries of a module, past the manager."""
    prefix = Keys(setting.cluster.name).module_entries
    store = EtcdStore(setting.cluster.etcd)
    async with asyncio.timeout(FILLED_WITHIN_S):
        for first in range(0, count, KEYS_AT_ONCE):
            puts = [
                Put(f"{prefix}probe/grown/{number:08d}", VALUE)
                for number in range(first, min(first + KEYS_AT_ONCE, count))
            ]
            await store.commit(puts, timeout_s=30)
    await store.close()


async def _in_turn(address: str, messages: int) -> list[float]:
    async with grpc.aio.insecure_channel(address) as channel:
        return await _session(channel, messages)


async def _at_once(address: str, clients: int, messages: int) -> list[float]:
    """Milliseconds of each command of so many clients, each on a connection of its own."""
    # Else channels to one address share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with contextlib.AsyncExitStack() as channels, asyncio.TaskGroup() as tasks:
        opened: list[Any] = [
            await channels.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(clients)
        ]
        running = [tasks.create_task(_session(each, messages)) for each in opened]
        for task in running:
            await asyncio.wait({task})
    return [sample for task in running for sample in task.result()]


async def _session(channel: grpc.aio.Channel, messages: int) -> list[float]:
    found = []
    call = command_pb2_grpc.CommandServiceStub(channel).Session()
    for number in range(messages + 20):
        begun = CLOCK.now()
        await call.write(pb.SessionRequest(id=number + 1, execute=pb.ExecuteRequest(words=WORDS)))
        answer = await call.read()
        found.append((CLOCK.now() - begun) * 1e3)
        assert answer.response.retval == 0, answer
    await call.done_writing()
    return found[20:]
