"""All rows, run by the number and written down as the table of docs/explanation/failover.md."""

from __future__ import annotations

import math
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from mgr.errors import MgrError
from tests.matrix.row import COUNTS, Row
from tests.matrix.rows import etcd, histories, machine, network, parts, processes
from tests.support.faults.breaking import heal
from tests.support.faults.lab import Lab

ROWS: Final[tuple[Row, ...]] = tuple(
    sorted(
        (*processes.ROWS, *network.ROWS, *etcd.ROWS, *machine.ROWS, *parts.ROWS, *histories.ROWS),
        key=lambda row: row.number,
    )
)
RUNS_PER_LAB: Final = 2
"""Then a fresh one: a module that kills three workers within ten minutes is quarantined, and a
manager whose workers keep crashing pauses longer and longer before the next."""
HEADINGS: Final = ("#", "fault", "must hold", "runs", "measured", "p50", "p99", "max", "target")


@dataclass
class Result:
    """What the runs of one row showed.

    Attributes:
        figures: Samples by name.
        wrong: What did not hold, in words.

    """

    row: Row
    runs: int = 0
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)

    def cells(self) -> Iterator[tuple[str, ...]]:
        """The lines of the table: one for each figure."""
        row = self.row
        if not self.runs:
            shown = f"`{row.elsewhere}`" if row.elsewhere else ""
            why = row.not_here if row.run is None else row.obstacle()
            said = "; ".join(part for part in (shown, why and f"not here: {why}") if part)
            yield (str(row.number), row.fault, row.holds, "-", said, *[""] * 4)
            return
        holds = f"{row.holds}. Not here: {row.not_here}" if row.not_here else row.holds
        head = (str(row.number), row.fault, holds, str(self.runs))
        for name, samples in self.figures.items():
            target = row.targets.get(name)
            limit = "" if target is None else f"{'= ' if not target else '≤ '}{target:g}"
            unit = "" if name in COUNTS else " (ms)"
            spread = [f"{percentile(samples, share):.4g}" for share in (0.5, 0.99, 1.0)]
            yield (*head, f"{name}{unit}", *spread, limit)
            head = ("", "", "", "")

    def missed(self) -> list[str]:
        """Targets that were not met."""
        return [
            f"{name}: p99 {percentile(self.figures[name], 0.99):.4g}, target {target:g}"
            for name, target in self.row.targets.items()
            if self.figures.get(name) and percentile(self.figures[name], 0.99) > target
        ]


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that ``share`` of all do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def run(row: Row, runs: int, seed: int) -> Result:
    """Do ``row`` so often, in as many laboratories as it takes, each judged at its end."""
    result = Result(row)
    if row.run is None or row.obstacle():
        return result
    rng = Random(seed)
    while result.runs < runs and not result.wrong:
        with Lab(**row.place.settings()) as lab:
            for _ in range(min(RUNS_PER_LAB, runs - result.runs)):
                once(result, lab, rng)
                if result.wrong:
                    break
            result.wrong += lab.judged()
    return result


def once(result: Result, lab: Lab, rng: Random) -> None:
    """Do a row once in ``lab`` and leave it healed."""
    row = result.row
    assert row.run is not None
    before = lab.found()
    try:
        figures = row.run(lab, rng)
    except (AssertionError, TimeoutError, MgrError) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        result.wrong.append(f"{type(error).__name__}: {error} ({place.name})")
        figures = {}
    result.runs += 1
    for name, figure in figures.items():
        result.figures[name].append(figure)
    heal(lab)
    lab.forget_deposition()
    result.wrong += [text for key, text in lab.found().items() if key not in before]


def written(results: Iterable[Result]) -> str:
    """The table in Markdown."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS)]
    lines += [cells for result in results for cells in result.cells()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
