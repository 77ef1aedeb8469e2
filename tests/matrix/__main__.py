"""Run rows of the matrix and write the table into docs/failover.md: ``make matrix``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import click

from bench.report import machine
from tests.matrix.row import KEY, Row
from tests.matrix.table import ROWS, Result, run, written
from tests.support.tree import ROOT

PAGE: Final = ROOT / "docs" / "failover.md"
BEGIN: Final = "<!-- matrix:begin -->"
END: Final = "<!-- matrix:end -->"
SAMPLES: Final = ROOT / ".cache" / "matrix" / "samples.json"


@click.command()
@click.option("--runs", type=int, default=None, help="Of each row, instead of its own number")
@click.option("--rows", default="", help="Numbers of rows, separated by commas; none: all")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--write/--no-write", default=False, help="Write the table into docs/failover.md")
def main(runs: int | None, rows: str, seed: int, *, write: bool) -> None:
    """Do every row and print the table; exit status 1 if anything did not hold."""
    wanted = {int(number) for number in rows.split(",") if number}
    results = [
        _done(row, row.runs if runs is None else runs, seed)
        for row in ROWS
        if not wanted or row.number in wanted
    ]
    table = written(results)
    sys.stdout.write(f"\n{table}\n")
    for result in results:
        for missed in result.missed():
            sys.stdout.write(f"MISSED: row {result.row.number}, {missed}\n")
    if write:
        _write(table)
    _keep(results)
    sys.exit(any(result.wrong for result in results))


def _done(row: Row, runs: int, seed: int) -> Result:
    result = run(row, runs, seed)
    key = f", key {sorted(result.figures[KEY])}" if KEY in result.figures else ""
    sys.stdout.write(f"{row.number}: {row.fault}: {result.runs} runs{key}\n")
    for wrong in result.wrong:
        sys.stdout.write(f"   WRONG: {wrong}\n")
    sys.stdout.flush()
    return result


def _write(table: str) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    said = f"`make matrix` on {machine()}; fast profile, three etcds 3.5.30 in memory."
    PAGE.write_text(f"{before}{BEGIN}\n{said}\n\n{table}\n{END}{after}", encoding="utf-8")


def _keep(results: list[Result]) -> None:
    """Leave every sample for the plot."""
    SAMPLES.parent.mkdir(parents=True, exist_ok=True)
    samples = {
        f"{result.row.number}: {result.row.fault}": dict(result.figures) for result in results
    }
    Path(SAMPLES).write_text(json.dumps(samples, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
