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
    promtool,
    scrape,
    scrape_until,
    value,
)

pytestmark = pytest.mark.timeout(600)
__all__ = ["promtool"]

ROUNDS = 6
"""Scrapes of a fault that has to last for five minutes; each stands for two."""

SLOW = """
    import threading
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        @CLIReadCommand("slow ask")
        def ask(self) -> HandleCommandResult:
            \"\"\"Answer late\"\"\"
            threading.Event().wait(9)
            return HandleCommandResult(stdout="at last")
"""
LATE = """
    import threading
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            threading.Event().wait(120)

        @CLIReadCommand("late ask")
        def ask(self) -> HandleCommandResult:
            \"\"\"Answer\"\"\"
            return HandleCommandResult(stdout="here")
"""
COMPUTES = """
    import threading
    from mgr_module import MgrModule

    class Module(MgrModule):
        def serve(self):
            self.stopping = threading.Event()
            while not self.stopping.wait(0.01):
                (3**6_000_000) % 7

        def shutdown(self):
            self.stopping.set()
"""
BEHIND = """
    import threading
    from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule, NotifyType

    class Module(MgrModule):
        NOTIFY_TYPES = [NotifyType.clog]

        def notify(self, notify_type, notify_id):
            threading.Event().wait(20)
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


def most(found, sample):
    """The highest value that a manager shows."""
    return max(value(text, sample) or 0 for text in found.values())


def test_a_module_that_answers_late_and_one_that_does_not_start(start, promtool, tmp_path):
    """Their commands are slow, or wait."""
    folder = tmp_path / "modules"
    write(folder, {"slow": SLOW, "late": LATE})
    cluster = start(names=("a",), module_path=folder, hold_s=200, **STEADY)
    cluster.settled(PATIENCE_S)
    cluster.enable("slow")
    scrapes = [scrape(cluster)]
    for _ in range(ROUNDS):
        assert cluster.run("slow", "ask", timeout_s=60).retval == 0
        scrapes.append(scrape(cluster))
    check_fires(promtool, tmp_path, scrapes, "MgrCommandsSlow")

    cluster.run("mgr", "module", "enable", "late", timeout_s=60)

    async def waiting():
        async with AsyncClient(cluster.hosts) as client, asyncio.TaskGroup() as asking:
            asked = [
                asking.create_task(client.execute(("late", "ask"), timeout_s=200))
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

    check_fires(promtool, tmp_path, [scrapes[0], asyncio.run(waiting())], "MgrCommandsQueue")


def test_modules_that_compute_and_that_fall_behind(start, promtool, tmp_path):
    """One holds the interpreter, one does not take its notifications."""
    folder = tmp_path / "modules"
    write(folder, {"computes": COMPUTES, "behind": BEHIND, "floods": FLOODS})
    cluster = start(names=("a",), module_path=folder, **STEADY)
    cluster.settled(PATIENCE_S)
    cluster.enable("behind", "floods")
    before = scrape(cluster)
    dropped = 'mgr_module_notifications_dropped{module="behind"}'

    cluster.run("floods", "now", timeout_s=60)
    flooded = scrape_until(cluster, lambda found: most(found, dropped) > 0, "dropped notifications")
    check_fires(promtool, tmp_path, [before, flooded], "MgrModuleBehind")

    cluster.run("mgr", "module", "enable", "computes", timeout_s=60)
    scrapes, lag = [before], "mgr_loop_lag_seconds_count"
    active = cluster.active().name
    for _ in range(ROUNDS):
        last = value(scrapes[-1][active], lag)
        scrapes.append(
            scrape_until(
                cluster, lambda found, last=last: value(found[active], lag) >= last + 5, "lag"
            )
        )
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

    check_fires(promtool, tmp_path, [before, during, during], "MgrDaemonsSilent")
    check_fires(promtool, tmp_path, [before, during], "MgrDaemonsRefused", before="90s")
