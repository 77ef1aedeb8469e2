"""What a commit of a module's database costs, by the size of the database (docs/adr/0017)."""

from __future__ import annotations

import json

from bench.report import Report
from bench.setting import Setting

SIZES_KIB = (256, 4 << 10, 16 << 10)


def run() -> Report:
    """Start one manager, let its module fill and commit, report."""
    report = Report("A module's database", "python -m bench database")
    with Setting(names=("a",)) as setting:
        setting.cluster.active()
        setting.cluster.enable("tables")
        for kib in SIZES_KIB:
            answer = setting.cluster.run("tables", "fill", kib=kib, timeout_s=60)
            if answer.retval:
                report.notes.append(f"{kib} KiB: {answer.stderr.splitlines()[-1]}")
                continue
            answer = setting.cluster.run("tables", "commits", timeout_s=60)
            stored, committed = json.loads(answer.stdout)
            report.add(f"reference: set_store, beside {kib} KiB", stored)
            report.add(f"commit of one row, database of {kib} KiB", committed)
    return report
