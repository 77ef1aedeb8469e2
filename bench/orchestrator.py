"""Measure the orchestrator: a plan for a large fleet, and the way of a change to an agent."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from bench.report import Report
from bench.setting import MEMORY, Setting
from mgr.clock import CLOCK
from modules.agents.reconciler import Daemon, Host, HostState, Placement, Service, plan
from tests.support.agents import Hosts
from tests.support.cluster import wait_for

HOSTS = 1000
SERVICES = 50
EACH = 100
ROUNDS = 10
CHANGES = 40
WAIT_S = 30.0


def _fleet() -> tuple[list[Service], list[Host]]:
    services = [
        Service(
            name=f"s{number}",
            kind="process",
            placement=Placement(count=EACH, pattern="h*"),
            revision="1",
            ports=frozenset({8000 + number}),
        )
        for number in range(SERVICES)
    ]
    kinds = frozenset({"process"})
    return services, [Host(name=f"h{number:04}", kinds=kinds) for number in range(HOSTS)]


def _timed(services: list[Service], hosts: list[Host]) -> list[float]:
    """Processor time: a plan waits for nothing, so that is how long it takes on an idle core."""
    found = []
    for _ in range(ROUNDS):
        begun_s = time.process_time()
        plan(services, hosts)
        found.append((time.process_time() - begun_s) * 1e3)
    return found


def _plans(report: Report) -> None:
    services, hosts = _fleet()
    what = f"plan for {HOSTS} hosts and {SERVICES * EACH} daemons, processor time"
    report.add(f"{what}: nothing is placed yet", _timed(services, hosts), target="<= 500")
    made = plan(services, hosts)
    daemons: dict[str, dict[str, Daemon]] = {}
    for each in made.values():
        for step in each.steps:
            there = daemons.setdefault(step.host, {})
            there[step.daemon] = Daemon(step.service, step.revision, "ready")
    services = [replace(one, slots=made[one.name].slots) for one in services]
    hosts = [replace(host, daemons=daemons.get(host.name, {})) for host in hosts]
    report.add(f"{what}: nothing is to be done", _timed(services, hosts), target="<= 500")
    newer = [replace(one, revision="2") for one in services]
    report.add(f"{what}: every service is updated", _timed(newer, hosts), target="<= 500")
    lost = [
        replace(host, state=HostState.LOST if number < HOSTS // 10 else host.state)
        for number, host in enumerate(hosts)
    ]
    report.add(f"{what}: a tenth of the hosts is lost", _timed(services, lost), target="<= 500")


def _changes(folder: Path) -> list[float]:
    """Milliseconds from the call of ``orch apply`` until the agent has stored the order."""
    found = []
    with Setting(names=("a",)) as setting:
        setting.cluster.active()
        setting.cluster.enable("orchestrator", "agents")
        with (
            Hosts(1, setting.cluster.hosts, folder) as hosts,
            setting.cluster.client() as client,
        ):
            wait_for(
                lambda: "h0" in client.execute(["orch", "host", "ls"]).text, "the host", WAIT_S
            )
            state = hosts.each[0].deployed / "state.json"
            pause = threading.Event()
            for number in range(1, CHANGES + 1):
                text = hosts.specification("web", environment={"NUMBER": str(number)})
                wanted = f'"revision":"{number}"'
                begun = CLOCK.now()
                answer = client.execute(["orch", "apply"], data=text.encode())
                assert answer.retval == 0, answer
                while not (state.exists() and wanted in state.read_text()):
                    assert CLOCK.now() - begun < WAIT_S, "the order did not arrive"
                    pause.wait(0.001)
                found.append((CLOCK.now() - begun) * 1e3)
                ready = f'"{number}"'
                wait_for(
                    lambda ready=ready: (
                        ready in (text := client.execute(["orch", "ls", "--format=json"]).text)
                        and '"stable"' in text
                    ),
                    "the service to be ready",
                    WAIT_S,
                )
    return found


def run() -> Report:
    """Measure plans and changes."""
    report = Report("Services are deployed to hosts", "python -m bench orchestrator")
    _plans(report)
    with tempfile.TemporaryDirectory(prefix="mgr-bench-", dir=MEMORY) as folder:
        report.add(
            "orch apply -> the order is on the disk of a ready agent",
            _changes(Path(folder) / "hosts"),
            target="<= 100",
        )
    return report
