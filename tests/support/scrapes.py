"""Scrapes real managers, as Prometheus would, for alerts that promtool then evaluates."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.support import fetch_promtool
from tests.support.cluster import Cluster, wait_for
from tests.support.promtool import Case, run, series

PATIENCE_S: Final = 120
PATIENT: Final = {"watchdog_s": 30}
"""What is tested has no hurry, and must not fail where the machine is busy."""
STEADY: Final = {**PATIENT, "lease_ttl_s": 30, "profile": "off"}
"""Leadership stays where it is, however slow the machine."""
STEPS: Final = 8
"""How long each of several scrapes is held: two minutes."""
STEP_S: Final = 15

Scrape = Mapping[str, str]
"""What each manager showed, by its name."""


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus' own judge of rules."""
    try:
        return fetch_promtool.find()
    except fetch_promtool.NoPromtoolError as error:
        pytest.skip(f"ALERTS NOT TRIED ON MANAGERS: no promtool: {error}")


def scrape(cluster: Cluster) -> dict[str, str]:
    """What each manager shows, and ``up`` for each, which Prometheus adds itself."""
    found = {}
    for name, manager in cluster.managers.items():
        try:
            answer = httpx.get(f"http://{manager.http_address}/metrics", timeout=10)
        except httpx.ConnectError:
            found[name] = "up 0\n"
        else:
            found[name] = f"{answer.text}up 1\n"
    return found


def scrape_until(cluster: Cluster, holds: Callable[[Scrape], bool], what: str) -> dict[str, str]:
    """Scrape until ``holds`` of what was shown."""

    def probe() -> dict[str, str] | None:
        # A worker that was killed on a busy machine is back in a moment.
        with contextlib.suppress(httpx.HTTPError, TypeError):
            found = scrape(cluster)
            return found if holds(found) else None
        return None

    return wait_for(probe, what, PATIENCE_S)


def value(text: str, sample: str) -> float | None:
    """The value of a sample, named with its labels; None if it is not shown."""
    found = (line.rpartition(" ") for line in text.splitlines())
    return next((float(number) for name, _, number in found if name == sample), None)


def total(text: str, metric: str) -> float:
    """The sum of a metric over its labels; 0 if it is not shown."""
    lines = (line.rpartition(" ") for line in text.splitlines())
    return sum(float(number) for name, _, number in lines if name.partition("{")[0] == metric)


def check_fires(
    promtool: Path, folder: Path, scrapes: Sequence[Scrape], *alerts: str, before: str = "105s"
) -> None:
    """``alerts`` do not fire during the first scrape, and do at the end of the last one."""
    shown = series(scrapes, STEPS)
    end = f"{len(scrapes) * STEPS * STEP_S - STEP_S}s"
    cases = [
        Case("before", shown, before, [], watched=alerts),
        Case("during", shown, end, alerts, only=False),
    ]
    if against := run(promtool, cases, folder):
        raise AssertionError(against)
