"""Run rows of the matrix and write the table into docs/explanation/failover.md: ``make matrix``."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from bench.failover import lease_alone
from bench.plot import Panel, distribution, draw
from bench.report import machine
from tests.matrix.row import COMMAND, KEY, Row
from tests.matrix.table import ROWS, Result, run, written
from tests.support.etcd import MEMORY, EtcdCluster
from tests.support.faults.lab import ETCD
from tests.support.tree import ROOT

PAGE: Final = ROOT / "docs" / "explanation" / "failover.md"
BEGIN: Final = "<!-- matrix:begin -->"
END: Final = "<!-- matrix:end -->"
PICTURE: Final = "failover"
LEASE_S: Final = 5
TITLES: Final = {KEY: "Until a standby holds the key", COMMAND: "Until a command is answered"}
DRAWN: Final = {
    1: "kill -9 of the worker",
    4: "SIGSTOP of the worker",
    7: "kill -9 of the guard",
    9: "host frozen",
    12: "SIGTERM",
    15: "cut off from etcd",
    32: "key deleted",
}
SAMPLES: Final = ROOT / ".cache" / "matrix" / "samples.json"


@click.command()
@click.option("--runs", type=int, default=None, help="Of each row, instead of its own number")
@click.option("--most", type=int, default=None, help="Runs of a row, where its number is larger")
@click.option("--rows", default="", help="Numbers of rows, separated by commas; none: all")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--write/--no-write", default=False, help="Write docs/explanation/failover.md")
def main(runs: int | None, most: int | None, rows: str, seed: int, *, write: bool) -> None:
    """Do every row and print the table; exit status 1 if anything did not hold."""
    wanted = {int(number) for number in rows.split(",") if number}
    results = [
        _done(row, runs or min(row.runs, most or row.runs), seed)
        for row in ROWS
        if not wanted or row.number in wanted
    ]
    table = written(results)
    sys.stdout.write(f"\n{table}\n")
    for result in results:
        for missed in result.missed():
            sys.stdout.write(f"MISSED: row {result.row.number}, {missed}\n")
    _keep(results)
    if write:
        sys.stdout.write(f"{_drawn(results)}\n")
        _write(table)
    sys.exit(any(result.wrong for result in results))


def _done(row: Row, runs: int, seed: int) -> Result:
    result = run(row, runs, seed)
    key = f", key {sorted(result.figures[KEY])}" if KEY in result.figures else ""
    done = f"{result.runs} runs{key}" if result.runs else f"SKIPPED: {row.obstacle()}"
    sys.stdout.write(f"{row.number}: {row.fault}: {done}\n")
    for wrong in result.wrong:
        sys.stdout.write(f"   WRONG: {wrong}\n")
    sys.stdout.flush()
    return result


def _write(table: str) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    said = (
        f"`make matrix` on {machine()}, {os.getloadavg()[2]:.1f} processors wanted in "
        "the last quarter of an hour; fast profile, three etcds in memory. A row alone: "
        "`make matrix ROWS=<its number>`."
    )
    picture = f"![How long the failovers took](../images/{PICTURE}.svg)"
    parts = (f"{before}{BEGIN}", said, "", table, "", picture, f"{END}{after}")
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def _drawn(results: Iterable[Result]) -> str:
    """Draw the failovers beside what everybody gets from a lease alone, measured here and now."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY, ignore_cleanup_errors=True) as place,
        EtcdCluster(Path(place), flags=ETCD) as etcd,
    ):
        alone = asyncio.run(lease_alone(etcd.endpoints, LEASE_S))
    reference = distribution(f"an etcd lease of {LEASE_S} s alone", alone)
    panels = [
        Panel(
            title,
            "milliseconds from the fault",
            "share of runs",
            [
                *(
                    distribution(f"{result.row.number}: {DRAWN[result.row.number]}", samples)
                    for result in results
                    if result.row.number in DRAWN and (samples := result.figures.get(figure))
                ),
                dataclasses.replace(reference, style="--"),
            ],
            log_x=True,
        )
        for figure, title in TITLES.items()
    ]
    return draw(PICTURE, panels)


def _keep(results: list[Result]) -> None:
    """Leave every sample for the plot."""
    SAMPLES.parent.mkdir(parents=True, exist_ok=True)
    samples = {
        f"{result.row.number}: {result.row.fault}": dict(result.figures) for result in results
    }
    Path(SAMPLES).write_text(json.dumps(samples, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
