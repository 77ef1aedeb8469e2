"""Measure what options and store cost a module, inside the active worker."""

from __future__ import annotations

import json

from bench.report import Report
from bench.setting import Setting
from mgr.clock import CLOCK

TARGETS = {
    "get_module_option": "<= 1",
    "get_store": "<= 1",
    "get('mgr_map')": "<= 10; ceph-mgr: 1000",
    "get('config')": "<= 10; ceph-mgr: 1450",
    "get('service_map')": "<= 10",
    "get() of a published map": "<= 10",
    "set_store": "<= 1.5 x put",
    "set_module_option": "<= 1.5 x put",
}
NOTIFICATIONS = 50


def _notified_after(setting: Setting) -> list[float]:
    """Milliseconds from the call of ``config set`` to the module's ``config_notify``."""
    found = []
    with setting.cluster.client() as client:
        for number in range(NOTIFICATIONS):
            value = f"place-{number}"
            begun = CLOCK.now()
            client.execute(["config", "set", "mgr", "mgr/probe/place", value])
            received: list[tuple[str, float]] = json.loads(
                client.execute(["probe", "notified"]).stdout
            )
            found.extend((at - begun) * 1e3 for place, at in received if place == value)
    return found


def run() -> Report:
    """Start one manager, let its probe measure, report."""
    report = Report("Options and store, from inside a module", "python -m bench options_and_store")
    with Setting(names=("a",)) as setting:
        setting.cluster.active()
        setting.cluster.enable("probe")
        reads = json.loads(setting.cluster.run("probe", "reads", timeout_s=60).stdout)
        for what, samples in reads.items():
            report.add(what, samples, unit="us", target=TARGETS.get(what, ""))
        endpoint = setting.cluster.etcd[0]
        writes = json.loads(setting.cluster.run("probe", "writes", endpoint, timeout_s=60).stdout)
        for what, samples in writes.items():
            report.add(what, samples, target=TARGETS.get(what, ""))
        report.add("config set -> module notified", _notified_after(setting), target="<= 5")
    put = next(one for one in report.series if "plain etcd put" in one.what).percentile(0.5)
    for one in report.series:
        if one.what.startswith("set_"):
            ratio = one.percentile(0.5) / put
            report.notes.append(f"{one.what}: p50 is {ratio:.2f} x the plain put's")
    return report
