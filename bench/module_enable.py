"""Measure how long it takes to enable a module in place, compared with a restart; and memory."""

from __future__ import annotations

from bench.report import Report
from bench.setting import Setting
from mgr.clock import CLOCK
from mgr.errors import MgrError
from tests.support import process

ROUNDS = 20
STARTS = 5


def _enabled_after(setting: Setting) -> tuple[list[float], int]:
    """Milliseconds from the call to the module's first answer; how often a worker changed."""
    found = []
    workers = {manager.worker_pid for manager in setting.cluster.managers.values()}
    with setting.cluster.client() as client:
        for _ in range(ROUNDS):
            client.execute(["mgr", "module", "disable", "probe"])
            begun = CLOCK.now()
            client.execute(["mgr", "module", "enable", "probe"])
            answer = client.execute(["probe", "nop"])
            found.append((CLOCK.now() - begun) * 1e3)
            assert answer.retval == 0, answer
    after = {manager.worker_pid for manager in setting.cluster.managers.values()}
    return found, len(after - workers)


def _answering_after() -> list[float]:
    """Milliseconds from exec of a lone manager to its first module command answered."""
    found = []
    with Setting(names=("a",)) as setting:
        setting.cluster.active()
        setting.cluster.enable("probe")
        manager = setting.cluster.managers["a"]
        with setting.cluster.client() as client:
            for _ in range(STARTS):
                manager.stop()
                begun = CLOCK.now()
                manager.start()
                while True:
                    try:
                        answer = client.execute(["probe", "nop"], timeout_s=0.5)
                    except MgrError:
                        continue
                    if answer.retval == 0:
                        break
                found.append((CLOCK.now() - begun) * 1e3)
    return found


def run() -> Report:
    """Measure enabling, starting and memory."""
    report = Report("Modules come and go in place", "python -m bench module_enable")
    with Setting() as setting:
        setting.cluster.settled()
        setting.cluster.enable("hello", "status", "selftest", "probe")
        times, changed = _enabled_after(setting)
        report.add("mgr module enable -> its first command answered", times, target="< 200")
        report.add("workers restarted meanwhile", [changed], unit="count", target="0")
        managers = setting.cluster.managers.values()
        report.add(
            "memory of a guard",
            [process.resident_mib(manager.guard_pid) for manager in managers],
            unit="MiB",
            target="<= 60",
        )
        report.add(
            "memory of a worker, bundled modules enabled",
            [process.resident_mib(manager.worker_pid) for manager in managers],
            unit="MiB",
            target="<= 90",
        )
    report.add(
        "reference: exec of a lone manager -> its first command answered",
        _answering_after(),
        target="<= 1500",
    )
    return report
