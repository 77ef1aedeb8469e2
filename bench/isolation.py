"""Measure modules in processes of their own beside the same modules in threads of the worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from pathlib import Path

import grpc

from bench import hops
from bench.probe import Shape, simulated
from bench.report import Report
from bench.setting import Setting
from mgr.clock import CLOCK
from mgr.errors import MgrError
from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc
from tests.support.cluster import Cluster, wait_for

MESSAGES = 2000
ROUNDS = 3
CLIENTS = 8
MODULES = 4
STARTS = 20
DAEMONS = int(os.environ.get("BENCH_DAEMONS", "1000"))
"""So many report while counters are read. The target is for 10000: BENCH_DAEMONS=10000."""
TEMPLATE = (Path(__file__).parent / "isolation_module.txt").read_text()
THREADS = tuple(f"t{number}" for number in range(MODULES))
PROCESSES = tuple(f"p{number}" for number in range(MODULES))
PLACES = (("thread", THREADS), ("process", PROCESSES))


def run() -> Report:
    """Start one manager with four modules in threads and four in processes, measure, report."""
    report = Report("A process for each module", "python -m bench isolation")
    with tempfile.TemporaryDirectory(prefix="mgr-bench-isolation-") as folder:
        for name in (*THREADS, *PROCESSES):
            (Path(folder) / name).mkdir()
            (Path(folder) / name / "__init__.py").write_text("")
            (Path(folder) / name / "module.py").write_text(TEMPLATE.replace("NAME", name))
        with Setting(names=("a",), module_path=folder) as setting:
            cluster = setting.cluster
            address = cluster.active(90).grpc_address
            words = " ".join(f"{name}=process" for name in PROCESSES)
            assert cluster.run("config", "set", "mgr", "mgr_module_isolation", words).retval == 0
            cluster.enable(*THREADS, *PROCESSES)
            asyncio.run(_commands(report, address))
            _reads(report, cluster, "reads")
            report.add("reference: as remote(), bytes alone", hops.by_way_of_a_loop(), unit="us")
            _starts(report, cluster)
            _memory(report, cluster)
            with simulated([address], Shape(DAEMONS)) as fleet:
                for order in ("join", "fill 1", "report"):
                    fleet.ask(order)
                _reads(report, cluster, "counters", str(DAEMONS))
    report.notes.append(f"{DAEMONS} daemons report while counters are read")
    return report


async def _commands(report: Report, address: str) -> None:
    latencies: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    work = ["spin"]
    for _ in range(ROUNDS):
        for place, modules in PLACES:
            found = await _over_session(address, [modules[0], "nop"], MESSAGES)
            latencies.setdefault(place, []).extend(found)
            for what, command, count in (("no-op", ["nop"], MESSAGES), ("1 ms of work", work, 200)):
                rate = await _rate(address, modules, command, count)
                rates.setdefault(f"{what}, {place}", []).append(rate)
    for place, samples in latencies.items():
        target = "<= thread + 60 at p50" if place == "process" else ""
        name = "no-op command" if place == "process" else "reference: no-op command"
        report.add(f"{name}, {place}", [1e3 * ms for ms in samples], unit="us", target=target)
    for what, samples in rates.items():
        target = "both cores" if "work, process" in what else ""
        report.add(f"eight clients, four modules, {what}", samples, unit="/s", target=target)


async def _over_session(address: str, words: list[str], messages: int) -> list[float]:
    """Milliseconds a message, one at a time over one stream."""
    found = []
    async with grpc.aio.insecure_channel(address) as channel:
        call = command_pb2_grpc.CommandServiceStub(channel).Session()
        for number in range(messages + 50):
            begun = CLOCK.now()
            request = pb.ExecuteRequest(words=words)
            await call.write(pb.SessionRequest(id=number + 1, execute=request))
            answer = await call.read()
            found.append((CLOCK.now() - begun) * 1e3)
            assert answer.response.retval == 0, answer
        await call.done_writing()
    return found[50:]


async def _rate(address: str, modules: tuple[str, ...], words: list[str], messages: int) -> float:
    """Answers a second that ``CLIENTS`` clients get from all ``modules`` together."""
    begun = CLOCK.now()
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            module = modules[number % len(modules)]
            clients.create_task(_over_session(address, [module, *words], messages))
    return CLIENTS * (messages + 50) / (CLOCK.now() - begun)


TARGETS = {
    "get_module_option": "<= 1",
    "get_store": "<= 1",
    "get('mgr_map'), unchanged": "<= 10",
    "get_latest_counter": "<= 10",
    "get_latest_counter, each daemon in turn": "<= 10",
    "remote()": "<= 150",
}


def _reads(report: Report, cluster: Cluster, command: str, argument: str = "") -> None:
    """Microseconds a read; ``command`` gets ``argument``, or the module's neighbour."""
    for place, modules in PLACES:
        answer = cluster.run(modules[0], command, argument or modules[1], timeout_s=120)
        assert answer.retval == 0, answer
        for what, samples in json.loads(answer.text).items():
            name = f"{what}, {place}" if place == "process" else f"reference: {what}, {place}"
            target = TARGETS.get(what, "") if place == "process" else ""
            report.add(name, samples, unit="us", target=target)


def _starts(report: Report, cluster: Cluster) -> None:
    """Milliseconds from the death of a module's process until its next one answers."""
    samples = []
    for _ in range(STARTS):
        before = int(cluster.run(PROCESSES[0], "pid").text)
        os.kill(before, signal.SIGKILL)
        begun = CLOCK.now()
        with cluster.client() as client:
            while True:
                try:
                    answer = client.execute([PROCESSES[0], "pid"], timeout_s=5)
                except MgrError:
                    continue
                if answer.retval == 0 and int(answer.text) != before:
                    break
        samples.append((CLOCK.now() - begun) * 1e3)
        # Only the first death in a while is followed by a restart at once.
        cluster.run("mgr", "module", "reload", PROCESSES[0])
    report.add("a module's death until it answers again", samples, target="<= 100")


def _memory(report: Report, cluster: Cluster) -> None:
    samples = [_pss_mib(int(cluster.run(name, "pid").text)) for name in PROCESSES]
    report.add("PSS of an idle module's process", samples, unit="MiB", target="<= 6")
    worker = wait_for(lambda: cluster.active().worker_pid, "the worker")
    report.add("reference: PSS of the worker", [_pss_mib(worker)], unit="MiB")


def _pss_mib(pid: int) -> float:
    """The memory of a process, shared pages divided among those that share them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
