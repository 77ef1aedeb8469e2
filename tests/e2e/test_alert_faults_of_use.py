"""Alerts fire on what clients, daemons and modules do to real managers."""

from __future__ import annotations

import asyncio

import grpc
import httpx
import pytest

from mgr.client.async_client import AsyncClient
from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from tests.e2e.test_module_faults import write
from tests.integration.rpc.reporting import Stream, counter
from tests.support.scrapes import (
    PATIENCE_S,
    STEADY,
    check_fires,
    most,
    scrape,
    scrape_until,
    slow_since,
    value,
)

pytestmark = pytest.mark.timeout(600)

ROUNDS = 2
"""Scrapes of a fault that has to last for more than the four minutes that each stands for."""

SLOW = """
    import threading
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        @CLIReadCommand("slow ask")
        def ask(self) -> HandleCommandResult:
            \"\"\"Answer late\"\"\"
            threading.Event().wait(3)
            return HandleCommandResult(stdout="at last")
"""
LATE = """
    import threading
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            threading.Event().wait(600)

        @CLIReadCommand("late ask")
        def ask(self) -> HandleCommandResult:
            \"\"\"Answer\"\"\"
            return HandleCommandResult(stdout="here")
"""
HOLDS = """
    import ctypes
    import threading
    from mgr_module import MgrModule

    class Module(MgrModule):
        def serve(self):
            self.stopping = threading.Event()
            # Keeps the interpreter, as an extension does that computes and does not release it.
            libc = ctypes.PyDLL(None)
            while not self.stopping.wait(0.3):
                libc.usleep(900_000)

        def shutdown(self):
            self.stopping.set()
"""
BEHIND = """
    import threading
    from mgr_module import MgrModule, NotifyType

    class Module(MgrModule):
        NOTIFY_TYPES = [NotifyType.clog]
        stopping = threading.Event()

        def notify(self, notify_type, notify_id):
            self.stopping.wait()

        def shutdown(self):
            self.stopping.set()
"""
FLOODS = """
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        @CLIReadCommand("floods now")
        def now(self) -> HandleCommandResult:
            \"\"\"Log more lines than a queue is long\"\"\"
            for number in range(600):
                self.cluster_log("cluster", self.ClusterLogPrio.INFO, str(number))
            return HandleCommandResult()
"""


def test_commands_that_are_slow(start, promtool, tmp_path):
    """Their module answers late."""
    folder = tmp_path / "modules"
    write(folder, {"slow": SLOW})
    cluster = start(names=("a",), module_path=folder, **STEADY)
    cluster.settled(PATIENCE_S)
    cluster.enable("slow")
    scrapes = [scrape(cluster)]

    for _ in range(ROUNDS):
        assert cluster.run("slow", "ask", timeout_s=PATIENCE_S).retval == 0
        slow = slow_since(scrapes[-1], "mgr_command_seconds", "2.5")
        scrapes.append(scrape_until(cluster, slow, "a slow command"))

    check_fires(promtool, tmp_path, scrapes, "MgrCommandsSlow")


def test_commands_that_wait(start, promtool, tmp_path):
    """Their module does not start."""
    folder = tmp_path / "modules"
    write(folder, {"late": LATE})
    cluster = start(names=("a",), module_path=folder, hold_s=2 * PATIENCE_S, **STEADY)
    cluster.settled(PATIENCE_S)
    before = scrape(cluster)
    cluster.run("mgr", "module", "enable", "late", timeout_s=PATIENCE_S)

    async def waiting():
        async with AsyncClient(cluster.hosts) as client, asyncio.TaskGroup() as asking:
            asked = [
                asking.create_task(client.execute(("late", "ask"), timeout_s=2 * PATIENCE_S))
                for _ in range(110)
            ]
            try:
                return await asyncio.to_thread(
                    scrape_until,
                    cluster,
                    lambda found: most(found, "mgr_commands_queued") > 100,
                    "commands that wait",
                )
            finally:
                for each in asked:
                    each.cancel()

    check_fires(promtool, tmp_path, [before, asyncio.run(waiting())], "MgrCommandsQueue")


def test_a_module_that_falls_behind(start, promtool, tmp_path):
    """It does not take its notifications."""
    folder = tmp_path / "modules"
    write(folder, {"behind": BEHIND, "floods": FLOODS})
    cluster = start(names=("a",), module_path=folder, **STEADY)
    cluster.settled(PATIENCE_S)
    cluster.enable("behind", "floods")
    dropped = 'mgr_module_notifications_dropped{module="behind"}'
    before = scrape_until(
        cluster, lambda found: value(found["a"], dropped) is not None, "the module's series"
    )

    cluster.run("floods", "now", timeout_s=PATIENCE_S)
    flooded = scrape_until(cluster, lambda found: most(found, dropped) > 0, "dropped notifications")

    check_fires(promtool, tmp_path, [before, flooded], "MgrModuleBehind")


def test_a_module_that_blocks_the_event_loop(start, promtool, tmp_path):
    """It holds the interpreter for most of the time."""
    folder = tmp_path / "modules"
    write(folder, {"holds": HOLDS})
    cluster = start(names=("a",), module_path=folder, **STEADY)
    cluster.settled(PATIENCE_S)
    scrapes = [scrape(cluster)]
    cluster.run("mgr", "module", "enable", "holds", timeout_s=PATIENCE_S)

    for _ in range(ROUNDS):
        late = slow_since(scrapes[-1], "mgr_loop_lag_seconds", "0.25")
        scrapes.append(scrape_until(cluster, late, "late heartbeats"))

    check_fires(promtool, tmp_path, scrapes, "MgrEventLoopBlocked")


def test_clients_above_their_limits(start, promtool, tmp_path):
    """Also if it is the first time that this limit is reached."""
    cluster = start(names=("a",), **STEADY)
    cluster.settled(PATIENCE_S)
    before = scrape(cluster)

    [manager] = cluster.managers.values()
    too_large = {"x-large": "x" * 20_000}
    with httpx.Client() as client:
        answers = [
            client.get(f"http://{manager.http_address}/livez", headers=too_large)
            for _ in range(120)
        ]
    assert {answer.status_code for answer in answers} == {431}

    check_fires(promtool, tmp_path, [before, scrape(cluster)], "MgrClientsRefused")


def test_daemons_that_are_silent_and_that_break_a_rule(start, promtool, tmp_path):
    """One stops to report, one reports a number twice."""
    cluster = start(names=("a",), **STEADY)
    cluster.settled(PATIENCE_S)
    cluster.run("config", "set", "mgr", "mgr_stats_period", "1")
    cluster.run("config", "set", "mgr", "mgr_daemon_grace", "3")
    before = scrape(cluster)
    active = cluster.active()

    async def misbehave():
        async with grpc.aio.insecure_channel(active.grpc_address) as channel:
            report = ClusterServiceStub(channel).Report
            silent, wrong = Stream(report()), Stream(report())
            for stream, name in ((silent, "silent"), (wrong, "wrong")):
                await stream.open("rgw", name, incarnation=name)
                await stream.declare(counter("requests", pb.COUNTER_KIND_COUNTER))
                await stream.report(1)
            wrong.sequence = 0
            await wrong.report(2)
            await wrong.refusal()
            return await asyncio.to_thread(
                scrape_until,
                cluster,
                lambda found: most(found, 'mgr_daemons{state="silent"}') > 0,
                "a silent daemon",
            )

    during = asyncio.run(misbehave())

    check_fires(promtool, tmp_path, [before, during], "MgrDaemonsSilent")
    check_fires(promtool, tmp_path, [before, during], "MgrDaemonsRefused")
