"""Scrapes real managers, as Prometheus would, for alerts that promtool then evaluates.

What a scrape showed is held for minutes of the evaluation, so that no test lasts as long as a rule.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from tests.support.cluster import Cluster, wait_for
from tests.support.promtool import SAMPLE, Case, run, series

PATIENCE_S: Final = 240
PATIENT: Final = {"watchdog_s": 30}
"""What is tested has no hurry, and must not fail where the machine is busy."""
STEADY: Final = {**PATIENT, "lease_ttl_s": 60, "profile": "off"}
"""Leadership stays where it is, however slow the machine."""
STEPS: Final = 16
"""How many samples each of several scrapes is held for: four minutes.

A rate over five minutes thus sees each change until after the next one.
"""
STEP_S: Final = 15
FEW: Final = 50
"""One slow answer in so many is more than one in a hundred."""

Scrape = Mapping[str, str]
"""What each manager showed, by its name."""


def scrape(cluster: Cluster) -> dict[str, str]:
    """What each manager shows, and ``up`` for each, which Prometheus adds itself."""
    found = {}
    for name, manager in cluster.managers.items():
        try:
            answer = httpx.get(f"http://{manager.http_address}/metrics", timeout=30)
        except httpx.ConnectError:
            found[name] = "up 0\n"
        else:
            found[name] = f"{answer.text}up 1\n"
    return found


def scrape_until(cluster: Cluster, holds: Callable[[Scrape], bool], what: str) -> dict[str, str]:
    """Scrape until ``holds`` of what was shown."""

    def probe() -> dict[str, str] | None:
        # A worker that was killed on a busy machine is back in a moment.
        with contextlib.suppress(httpx.HTTPError):
            found = scrape(cluster)
            return found if holds(found) else None
        return None

    return wait_for(probe, what, PATIENCE_S)


def value(text: str, sample: str) -> float | None:
    """The value of a sample, named with its labels; None if it is not shown."""
    found = (line.rpartition(" ") for line in text.splitlines())
    return next((float(number) for name, _, number in found if name == sample), None)


def most(found: Scrape, sample: str) -> float:
    """The highest value of a sample that a manager shows; 0 if none does."""
    return max(value(text, sample) or 0 for text in found.values())


def total(found: Scrape, metric: str, labels: str = "") -> float:
    """The sum of a metric over all managers and all labels, those that contain ``labels``."""
    lines = (SAMPLE.fullmatch(line) for text in found.values() for line in text.splitlines())
    return sum(
        float(line[3]) for line in lines if line and line[1] == metric and labels in (line[2] or "")
    )


def slow_since(before: Scrape, metric: str, edge: str) -> Callable[[Scrape], bool]:
    """Whether a histogram's 99th percentile since ``before`` is above ``edge``, one of its own."""

    def grown(found: Scrape, *named: str) -> float:
        return total(found, *named) - total(before, *named)

    def holds(found: Scrape) -> bool:
        every = grown(found, f"{metric}_count")
        slow = every - grown(found, f"{metric}_bucket", f'le="{edge}"')
        return slow >= max(1, every / FEW)

    return holds


def check_fires(promtool: Path, folder: Path, scrapes: Sequence[Scrape], *alerts: str) -> None:
    """``alerts`` do not fire during the first scrape, and do at the end of the last one."""
    shown = series(scrapes, STEPS)
    before, during = (f"{number * STEPS * STEP_S - STEP_S}s" for number in (1, len(scrapes)))
    cases = [
        Case("before", shown, before, [], watched=alerts),
        Case("during", shown, during, alerts, only=False),
    ]
    if against := run(promtool, cases, folder):
        raise AssertionError(against)
