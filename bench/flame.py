"""Flame graphs of a no-op command: where client, wire and manager spend their processor time.

Three processes are sampled while a client sends one command after the other over a session: the
client itself, a bare server of grpc.aio that echoes the same messages (the wire), and the worker of
the active. A sample counts only if its thread was running. The sampler is py-spy, which the extra
``plot`` installs; it needs the right to trace other processes.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc

from bench import echo
from bench.command import WORDS
from bench.flame_picture import COLOURS, Picture, Stacks, layer_of
from bench.report import Report
from bench.setting import MODULES, PATIENT, Setting
from mgr.client.async_client import AsyncClient
from mgr.clock import CLOCK
from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc

RATE_HZ: Final = 500
SECONDS: Final = 15.0
SETTLE_S: Final = 1.0
"""A sampler begins after so long."""
CLIENT: Final = """\
import asyncio, sys
from bench import flame
asyncio.run(getattr(flame, sys.argv[1])(sys.argv[2], float(sys.argv[3])))
"""


async def commands(address: str, seconds: float) -> None:
    """Send commands to the manager at ``address``, one at a time over a session, for a while."""
    ends_s = CLOCK.now() + seconds
    async with AsyncClient([address]) as client, client.session() as session:
        while CLOCK.now() < ends_s:
            await session.execute(WORDS, timeout_s=30)


async def messages(address: str, seconds: float) -> None:
    """Send the same to the bare server at ``address``, which is no manager."""
    ends_s = CLOCK.now() + seconds
    async with grpc.aio.insecure_channel(address) as channel:
        call = command_pb2_grpc.CommandServiceStub(channel).Session()
        while CLOCK.now() < ends_s:
            await call.write(pb.SessionRequest(id=1, execute=pb.ExecuteRequest(words=WORDS)))
            await call.read()
        await call.done_writing()


def run() -> Report:
    """Sample the three, draw them, and report who has which share of the time."""
    report = Report("Where the time of a command goes", "python -m bench flame")
    sampler = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which(
        "py-spy"
    )
    if sampler is None:
        report.notes.append("no pictures: pip install -e '.[plot]' installs the sampler, py-spy")
        return report
    with Setting(names=()) as setting, echo.running() as (echo_pid, bare):
        manager = setting.cluster.add("a", module_path=MODULES, **PATIENT)
        manager.start()
        setting.cluster.active(120)
        setting.cluster.enable("probe")
        address = manager.grpc_address
        for name, clients, pid in (
            ("client", ["commands", address], None),
            ("wire", ["messages", bare], echo_pid),
            ("manager", ["commands", address], manager.worker_pid),
        ):
            stacks = _sampled(sampler, clients, pid)
            report.notes.append(Picture(f"flame-{name}", TITLES[name], stacks).write())
            for layer, share in _shares(stacks).items():
                report.add(f"{name}: {layer}", [share], unit="%")
    version = importlib.metadata.version("grpcio")
    report.notes.append(f"running threads only, {RATE_HZ} samples a second; grpcio {version}")
    return report


TITLES: Final = {
    "client": "mgr.client, one no-op command after the other over a session",
    "wire": "A bare server of grpc.aio that echoes the same messages",
    "manager": "The worker of the active that answers the commands",
}


def _sampled(sampler: str, clients: Sequence[str], pid: int | None) -> Stacks:
    """Return how often each stack ran in the process ``pid``, or else in the client of it."""
    with tempfile.TemporaryDirectory(prefix="mgr-bench-flame-") as folder:
        found = Path(folder) / "stacks"
        whole_s = SECONDS + 3 * SETTLE_S
        client = subprocess.Popen([sys.executable, "-c", CLIENT, *clients, str(whole_s)])
        try:
            with subprocess.Popen(
                [
                    *(sampler, "record", "--pid", str(pid or client.pid), "--gil", "--function"),
                    *("--rate", str(RATE_HZ), "--format", "raw", "--output", str(found)),
                    *("--duration", "3600"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as sampling:
                try:
                    sampling.wait(SECONDS + SETTLE_S)
                except subprocess.TimeoutExpired:
                    sampling.send_signal(signal.SIGINT)
                _, errors = sampling.communicate(timeout=60)
            if not found.exists():
                raise TimeoutError(f"py-spy recorded nothing: {errors.strip()[-200:]}")
            return Stacks.parse(found.read_text(encoding="utf-8"))
        finally:
            client.wait(60)


def _shares(stacks: Stacks) -> dict[str, float]:
    """The share of each layer in percent: that of the function that ran, not of its callers."""
    found: Counter[str] = Counter()
    for frames, count in stacks.counts.items():
        found[layer_of(frames[-1])] += count
    return {layer: 100 * found[layer] / stacks.total for layer in COLOURS}
