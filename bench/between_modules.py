"""What modules cost each other: a call by ``remote()``, and notifications to eight of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench.report import Report
from bench.setting import MODULES, Setting

LISTENER = Path(__file__).parent / "listener"
LISTENERS = tuple(f"listener{number}" for number in range(8))


def run() -> Report:
    """Start one manager with eight listening modules, let its probe measure, report."""
    report = Report("From module to module", "python -m bench between_modules")
    with tempfile.TemporaryDirectory(prefix="mgr-bench-listeners-") as folder:
        for listener in LISTENERS:
            (Path(folder) / listener).symlink_to(LISTENER)
        with Setting(names=("a",), module_path=f"{MODULES},{folder}") as setting:
            setting.cluster.active()
            setting.cluster.enable("probe", *LISTENERS)
            calls = setting.cluster.run("probe", "remotes", LISTENERS[0], timeout_s=60)
            received = setting.cluster.run("probe", "fanout", ",".join(LISTENERS), timeout_s=60)
    for what, samples in json.loads(calls.stdout).items():
        target = "" if what.startswith("reference") else "ceph-mgr: 11"
        report.add(what, samples, unit="us", target=target)
    for what, samples in json.loads(received.stdout).items():
        target = "ceph-mgr: 2" if what.startswith("notify") and "to last" in what else ""
        report.add(what, samples, target=target)
    report.notes.append("the reference wakes eight waiting threads of the same process, one each")
    return report
