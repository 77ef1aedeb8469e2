"""Evaluates the alert rules by promtool, over series that a test makes or managers really had."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.tree import ROOT

RULES: Final = ROOT / "deploy/observability/alerts.yaml"
SAMPLE: Final = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
STEPS: Final = 60
"""How long each scrape is repeated: 15 minutes, so that every ``for`` has passed."""


@dataclass(frozen=True)
class Case:
    """Series in promtool's notation, a sample every 15 s, and what is to fire at a moment."""

    name: str
    series: Mapping[str, str]
    at: str
    fires: Sequence[str]
    only: bool = True
    """Nothing else may fire."""
    watched: Sequence[str] = ()
    """Of these alerts no other one may fire; empty: of all."""


def run(promtool: Path, cases: Sequence[Case], folder: Path) -> str:
    """Evaluate ``cases``; return what promtool says against them, empty if all hold."""
    file = folder / "cases.yaml"
    content = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [_test(case) for case in cases],
    }
    file.write_text(yaml.safe_dump(content, width=10_000))
    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, timeout=120, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def series(scrapes: Sequence[Mapping[str, str]], steps: int = STEPS) -> dict[str, str]:
    """Make series of scrapes, each held for ``steps`` samples: by manager, what it showed."""
    found: dict[str, list[str]] = {}
    for number, scrape in enumerate(scrapes):
        for manager, text in scrape.items():
            for line in text.splitlines():
                sample = SAMPLE.fullmatch(line)
                if sample is None:
                    continue
                labels = ",".join(filter(None, [f'job="mgr",instance="{manager}"', sample[2]]))
                values = found.setdefault(f"{sample[1]}{{{labels}}}", [])
                values += ["_"] * (number - len(values)) + [str(float(sample[3]))]
    return {
        # A missing sample repeated n times is n samples; a value, one and n more.
        name: " ".join(f"{value}x{steps - (value != '_')}" for value in values)
        for name, values in found.items()
        if not any("inf" in value or "nan" in value for value in values)
    }


def _test(case: Case) -> dict[str, Any]:
    fired = 'ALERTS{alertstate="firing"}'
    if watched := case.watched if case.only else case.fires:
        fired = f'ALERTS{{alertstate="firing",alertname=~"{"|".join(watched)}"}}'
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in case.fires]
    return {
        "name": case.name,
        "interval": "15s",
        "input_series": [{"series": name, "values": v} for name, v in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f"count by (alertname) ({fired} > 0) > bool 0",
                "eval_time": case.at,
                "exp_samples": expected,
            }
        ],
    }
