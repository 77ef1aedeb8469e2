"""Plots of benchmark results: lines over a size, and distributions. Written as SVG.

Drawn by matplotlib, which the extra ``plot`` installs; without it a benchmark says so and goes on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PICTURES: Final = Path(__file__).parents[1] / "docs" / "images"
PANEL_INCHES: Final = (5.0, 3.6)
SETTINGS: Final = {
    # Letters stay letters: a tenth of the size, and whoever looks for a word finds it.
    "svg.fonttype": "none",
    # The same samples give the same file.
    "svg.hashsalt": "mgr",
    "font.size": 9,
    "axes.grid": True,
    "axes.grid.which": "both",
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel.

    Attributes:
        what: What it shows, in words; empty: not named.
        points: In the order in which they are joined.
        style: As matplotlib writes it: ``o-`` for measured points, ``--`` for a reference or
            a target.
        steps: Whether the value holds until the next point, as in a distribution.

    """

    what: str
    points: Sequence[Point]
    style: str = "o-"
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture beside others: its title, its axes with their units, its lines."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False


def distribution(what: str, samples: Iterable[float]) -> Line:
    """The share of ``samples`` that do not exceed a value, from 0 to 1, as a line of steps."""
    ordered = sorted(samples)
    first = [(ordered[0], 0.0)] if ordered else []
    shares = [(value, rank / len(ordered)) for rank, value in enumerate(ordered, 1)]
    return Line(what, first + shares, style="-", steps=True)


def draw(name: str, panels: Sequence[Panel]) -> str:
    """Write ``docs/images/<name>.svg``; return a note that says so, or why there is none."""
    if importlib.util.find_spec("matplotlib") is None:
        return f"no picture {name}.svg: pip install -e '.[plot]'"
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{name}.svg"
    _write(path, panels)
    return f"drawn: docs/images/{path.name}"


def _write(path: Path, panels: Sequence[Panel]) -> None:
    # Not at the top: a quarter of a second, and an extra that need not be there.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    width, height = PANEL_INCHES
    with rc_context(SETTINGS):
        figure = Figure(figsize=(width * len(panels), height), layout="constrained")
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _fill(axes, panel)
        figure.savefig(path, metadata={"Date": None})
    # Matplotlib ends lines with blanks, which no file of this repository has.
    text = path.read_text(encoding="utf-8")
    path.write_text("".join(f"{line.rstrip()}\n" for line in text.splitlines()), encoding="utf-8")


def _scale(axis: Any) -> None:
    """Make it logarithmic, labelled at 1, 2 and 5 of each decade with plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator  # noqa: PLC0415

    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _fill(axes: Any, panel: Panel) -> None:
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    for line in panel.lines:
        axes.plot(
            *zip(*line.points, strict=True),
            line.style,
            label=line.what or None,
            markersize=4,
            linewidth=1.2,
            drawstyle="steps-post" if line.steps else "default",
        )
    if not panel.log_y:
        axes.set_ylim(bottom=0)
    for axis, logarithmic in ((axes.xaxis, panel.log_x), (axes.yaxis, panel.log_y)):
        if logarithmic:
            _scale(axis)
    if any(line.what for line in panel.lines):
        axes.legend()
