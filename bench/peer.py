"""The same on ceph-mgr and here, in turn (A B A B), with the ratio of the medians.

ceph-mgr comes from Debian's packages (bench/ceph.py). Each is measured through its own client: what
a program calls that sends many commands.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bench import ceph
from bench.command import _own_client
from bench.report import Report, Series
from bench.setting import Setting
from mgr.clock import CLOCK
from mgr.errors import MgrError

ROUNDS: Final = 3
MESSAGES: Final = 1000
CLIENTS: Final = 8
NOTIFICATIONS: Final = 20
ENABLES: Final = 3
FAULTS: Final = 2
"""ceph-mgr takes half a minute for one with its defaults."""
COMMANDS: Final = ("no-op command, one client", "ms")
RATE: Final = (f"no-op command, {CLIENTS} clients", "/s")


@dataclass
class Found:
    """Samples by what was measured and its unit, of one of the two."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, what: str, unit: str, samples: list[float]) -> None:
        """Add samples of one round."""
        self.samples.setdefault((what, unit), []).extend(samples)


def run() -> Report:
    """Measure both in turn; without ceph-mgr say why, loudly, and measure nothing."""
    report = Report("ceph-mgr beside it", "python -m bench peer")
    try:
        with ceph.peer() as theirs, Setting(names=("a", "b")) as ours:
            theirs.enable()
            ours.cluster.settled(60)
            ours.cluster.enable("probe")
            _compare(report, theirs, ours)
    except ceph.NoPeerError as error:
        sys.stderr.write(f"\n== SKIPPED: NO ceph-mgr TO COMPARE WITH: {error}\n\n")
        report.notes.append(f"SKIPPED, nothing was compared: {error}")
    return report


def _compare(report: Report, theirs: ceph.Ceph, ours: Setting) -> None:
    found = (Found(), Found())
    with ceph.Client(theirs) as client:
        for _ in range(ROUNDS):
            _measure_theirs(client, found[0])
            _measure_ours(ours, found[1])
    for _ in range(ENABLES):
        found[0].add("enable -> first command answered", "ms", [_enabled_theirs(theirs)])
        found[1].add("enable -> first command answered", "ms", [_enabled_ours(ours)])
    for what, fault_theirs, fault_ours in (
        ("kill -9 -> first command answered", theirs.kill_active, _kill_active),
        ("mgr fail -> first command answered", theirs.fail_active, _fail_active),
    ):
        for _ in range(FAULTS):
            found[0].add(what, "ms", [_after_theirs(theirs, fault_theirs)])
            found[1].add(what, "ms", [_after_ours(ours, fault_ours)])
    for (what, unit), samples in found[0].samples.items():
        report.add(f"reference: ceph-mgr {theirs.version}: {what}", samples, unit=unit)
        mine = found[1].samples[what, unit]
        report.add(what, mine, unit=unit)
        ratio = _median(samples) / _median(mine)
        faster = 1 / ratio if unit == "/s" else ratio
        report.notes.append(f"{what}: ceph-mgr needs {faster:.3g} x the time")


def _median(samples: list[float]) -> float:
    return Series("", samples).percentile(0.5)


# -- theirs -------------------------------------------------------------------------------------


def _measure_theirs(client: ceph.Client, found: Found) -> None:
    found.add(*COMMANDS, client.ask("in_turn", messages=MESSAGES, clients=1)["ms"])
    together = client.ask("in_turn", messages=MESSAGES // 2, clients=CLIENTS)
    found.add(*RATE, [CLIENTS * (MESSAGES // 2 + 50) / together["s"]])
    for what, samples in client.ask("manager", prefix="probe reads").items():
        found.add(what, "us", samples)
    for what, samples in client.ask("manager", prefix="probe writes").items():
        found.add(what, "ms", samples)
    found.add(
        "config set -> module notified",
        "ms",
        _notified(
            lambda value: client.monitor(
                {"prefix": "config set", "who": "mgr", "name": "mgr/probe/place", "value": value}
            ),
            lambda: client.ask("manager", prefix="probe notified"),
        ),
    )


def _enabled_theirs(theirs: ceph.Ceph) -> float:
    with ceph.Client(theirs) as client:
        client.monitor({"prefix": "mgr module disable", "module": "probe"})
        begun = CLOCK.now()
        client.monitor({"prefix": "mgr module enable", "module": "probe", "force": "--force"})
        return (client.wait_answered() - begun) * 1e3


def _after_theirs(theirs: ceph.Ceph, fault: Callable[[], None]) -> float:
    theirs.revive()
    with ceph.Client(theirs) as client:
        client.wait_answered()
        begun = CLOCK.now()
        fault()
        # Until the monitor has noticed, the old manager may still be what is asked.
        return (client.wait_answered() - begun) * 1e3


# -- ours ---------------------------------------------------------------------------------------


def _measure_ours(setting: Setting, found: Found) -> None:
    address = setting.cluster.active().grpc_address
    found.add(*COMMANDS, asyncio.run(_own_client(address, MESSAGES)))
    found.add(*RATE, [_rate(setting)])
    run = setting.cluster.run
    for what, samples in json.loads(run("probe", "reads", timeout_s=60).stdout).items():
        if what in {"get_module_option", "get_store", "get('mgr_map')", "get('config')"}:
            found.add(what, "us", samples)
    endpoint = setting.cluster.etcd[0]
    writes = json.loads(run("probe", "writes", endpoint, rounds=100, timeout_s=60).stdout)
    for what in ("set_store", "set_module_option"):
        found.add(what, "ms", writes[what])
    with setting.cluster.client() as client:
        found.add(
            "config set -> module notified",
            "ms",
            _notified(
                lambda value: client.execute(["config", "set", "mgr", "mgr/probe/place", value]),
                lambda: json.loads(client.execute(["probe", "notified"]).stdout),
            ),
        )


def _rate(setting: Setting) -> float:

    async def all_at_once() -> float:
        address = setting.cluster.active().grpc_address
        begun = CLOCK.now()
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(_own_client(address, MESSAGES // 2))
        return CLIENTS * (MESSAGES // 2 + 50) / (CLOCK.now() - begun)

    return asyncio.run(all_at_once())


def _enabled_ours(setting: Setting) -> float:
    with setting.cluster.client() as client:
        client.execute(["mgr", "module", "disable", "probe"])
        begun = CLOCK.now()
        client.execute(["mgr", "module", "enable", "probe"])
        assert client.execute(["probe", "nop"]).retval == 0
        return (CLOCK.now() - begun) * 1e3


def _kill_active(setting: Setting) -> None:
    setting.cluster.active().signal(signal.SIGKILL, worker=True)


def _fail_active(setting: Setting) -> None:
    setting.cluster.run("mgr", "fail")


def _after_ours(setting: Setting, fault: Callable[[Setting], None]) -> float:
    setting.cluster.settled(60)
    with setting.cluster.client() as client:
        assert client.execute(["probe", "nop"]).retval == 0
        begun = CLOCK.now()
        fault(setting)
        while True:
            try:
                answer = client.execute(["probe", "nop"], timeout_s=30)
            except MgrError:
                continue
            assert answer.retval == 0, answer
            return (CLOCK.now() - begun) * 1e3


# -- both ---------------------------------------------------------------------------------------


def _notified(change: Callable[[str], Any], seen: Callable[[], Any]) -> list[float]:
    """Milliseconds from the call of ``config set`` to the module's ``config_notify``."""
    found = []
    for number in range(NOTIFICATIONS):
        value, begun = f"place-{CLOCK.now():.6f}-{number}", CLOCK.now()
        change(value)
        end = CLOCK.now() + 5
        while CLOCK.now() < end:
            at = next((at for place, at in seen() if place == value), None)
            if at is not None:
                found.append((at - begun) * 1e3)
                break
    return found
