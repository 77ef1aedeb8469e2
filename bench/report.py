"""The report of a benchmark: one row per series, with percentiles, target and reference."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HEADINGS: Final = ("what", "n", "p50", "p99", "max", "unit", "target")


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one figure.

    Attributes:
        what: The figure in words; a reference begins with ``reference:``.
        samples: At least one, in ``unit``.
        unit: ``ms``, ``us``, ``s``, ``/s``, ``KiB``, ``MiB``, ``%`` or ``count``.
        target: What DESIGN promises, in words; empty for a reference.

    """

    what: str
    samples: Sequence[float]
    unit: str = "ms"
    target: str = ""

    def percentile(self, share: float) -> float:
        """The smallest sample that ``share`` of all do not exceed (nearest rank)."""
        ordered = sorted(self.samples)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def row(self) -> tuple[str, ...]:
        """The series as cells of ``HEADINGS``."""
        figures = (self.percentile(0.5), self.percentile(0.99), max(self.samples))
        return (
            self.what,
            str(len(self.samples)),
            *(f"{figure:.4g}" for figure in figures),
            self.unit,
            self.target,
        )


@dataclass(slots=True)
class Report:
    """Collects series and prints them as a Markdown table."""

    title: str
    command: str
    series: list[Series] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, what: str, samples: Sequence[float], *, unit: str = "ms", target: str = ""
    ) -> None:
        """Add a figure; one without samples is a note that says so."""
        if samples:
            self.series.append(Series(what, samples, unit, target))
        else:
            self.notes.append(f"{what}: no sample")

    def text(self) -> str:
        """The whole report in Markdown."""
        rows = [HEADINGS, tuple("---" for _ in HEADINGS), *(one.row() for one in self.series)]
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        notes = "".join(f"\n- {note}" for note in self.notes)
        return f"## {self.title}\n\n`{self.command}` on {machine()}\n\n{table}\n{notes}\n"

    def print(self) -> None:
        """Print it now, so that a stopped run leaves what it measured."""
        sys.stdout.write(self.text() + "\n")
        sys.stdout.flush()


def machine() -> str:
    """The machine's size in a few words."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"{os.cpu_count()} cores ({model}), {pages / 2**30:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )
