"""A small chart of a counter's last points, as the path of an SVG picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from mgr_module import MgrModule

WIDTH: Final = 240.0
HEIGHT: Final = 44.0
MARGIN: Final = 3.0
AVERAGE: Final = MgrModule.PERFCOUNTER_LONGRUNAVG
GROWING: Final = MgrModule.PERFCOUNTER_COUNTER
HISTOGRAM: Final = MgrModule.PERFCOUNTER_HISTOGRAM


@dataclass(frozen=True, slots=True)
class Chart:
    """One counter: its newest value in words' place, and the line of its last values.

    Attributes:
        shows: What the line shows: the value, its growth per second, or the average of an interval.
        line: ``d`` of an SVG path in a box of ``WIDTH`` by ``HEIGHT``; empty without two points.

    """

    path: str
    description: str
    shows: str
    newest: float | None
    bytes: bool
    line: str
    low: float
    high: float


def chart(path: str, spec: Mapping[str, Any], points: Sequence[Sequence[float]]) -> Chart:
    """Return the chart of a counter that ``spec`` describes, from its last points."""
    kind = int(spec.get("type", 0))
    series, shows = _series(kind, points)
    values = [value for _, value in series]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    return Chart(
        path=path,
        description=str(spec.get("description") or ""),
        shows=shows,
        newest=values[-1] if values else None,
        bytes=int(spec.get("units", 1)) == MgrModule.BYTES,
        line=_line(series, low, high),
        low=low,
        high=high,
    )


def _series(kind: int, points: Sequence[Sequence[float]]) -> tuple[list[tuple[float, float]], str]:
    """Return times and values of what is worth seeing in a counter, and its name."""
    if kind & AVERAGE:
        changes = [
            (later[0], later[1] - earlier[1], later[2] - earlier[2])
            for earlier, later in pairwise(points)
        ]
        return [(at, total / times) for at, total, times in changes if times > 0], "average"
    if kind & (GROWING | HISTOGRAM):
        return [
            (later[0], max(0.0, later[1] - earlier[1]) / (later[0] - earlier[0]))
            for earlier, later in pairwise(points)
            if later[0] > earlier[0]
        ], "per second"
    return [(point[0], point[1]) for point in points], "value"


def _line(series: Sequence[tuple[float, float]], low: float, high: float) -> str:
    if len(series) < 2:
        return ""
    begin, end = series[0][0], series[-1][0]
    across = (WIDTH / (end - begin)) if end > begin else 0.0
    up = (HEIGHT - 2 * MARGIN) / (high - low) if high > low else 0.0
    middle = HEIGHT / 2 if high <= low else HEIGHT - MARGIN
    steps = [
        f"{(at - begin) * across:.1f} {middle - (value - low) * up:.1f}" for at, value in series
    ]
    return "M" + "L".join(steps)
