"""Prometheus' text format, made of whole rows of numbers.

prometheus-client makes an object of each sample, which takes 8 µs; a fleet of ten thousand daemons
with a hundred counters has a million of them. Here a line is one formatted string and takes a
tenth of that. The tests read what comes out with that library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TYPES: Final = {
    "gauge": "gauge",
    "counter": "counter",
    "average": "summary",
    "histogram": "histogram",
}
OWN_LABELS: Final = frozenset({"daemon", "le"})
"""A counter's label of such a name is exported under another."""
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_:]")
_NO_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")
_TO_ESCAPE: Final = re.compile(r'[\\"\n]')


class Series(NamedTuple):
    """One counter of all daemons that count the same."""

    labels: str
    start: int
    stop: int
    bounds: tuple[float, ...]
    daemons: Sequence[tuple[str, Sequence[float]]]


class Family(NamedTuple):
    """What is exported under one name."""

    name: str
    kind: str
    help: str
    series: list[Series]


class Families:
    """Everything that daemons count, by the names under which it is exported.

    Attributes:
        left_out: Samples that another one of their name keeps out.

    """

    def __init__(self) -> None:
        """Begin with none."""
        self.left_out = 0
        self._families: dict[str, Family] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take one entry of ``get_counter_rows``."""
        daemons = [(f'daemon="{escaped(name)}"', row) for name, row in entry["rows"].items()]
        seen: set[tuple[str, str]] = set()
        for counter in entry["counters"]:
            name, kind = metric_name(counter), counter["kind"]
            labels = "".join(f",{each}" for each in label_texts(counter["labels"]))
            family = self._families.setdefault(name, Family(name, kind, counter["description"], []))
            if family.kind != kind or (name, labels) in seen:
                self.left_out += len(daemons)
                continue
            seen.add((name, labels))
            place = counter["start"], counter["stop"]
            family.series.append(Series(labels, *place, tuple(counter["bounds"]), daemons))

    def texts(self) -> Iterable[bytes]:
        """Each family's lines."""
        for family in self._families.values():
            lines = _heading(family.name, TYPES[family.kind], family.help)
            for series in family.series:
                lines += _LINES[family.kind](family.name, series)
            yield "".join(lines).encode(errors="replace")


def family_text(
    name: str, kind: str, words: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> bytes:
    """The lines of a family of few samples, each with its labels; nothing if there are none."""
    lines = [
        f"{name}{{{','.join(label_texts(labels, own=True))}}} {number(value)}\n"
        for labels, value in samples
    ]
    return (
        "".join([*_heading(name, kind, words), *lines]).encode(errors="replace") if lines else b""
    )


def metric_name(counter: Mapping[str, Any]) -> str:
    """What a counter is called, by Prometheus' customs: its unit, and ``_total`` if it grows."""
    name = _NO_NAME.sub("_", counter["path"])
    name = f"_{name}" if name[:1].isdigit() else name
    unit = counter["unit"]
    if unit and not name.endswith((f"_{unit}", f"_{unit}_total")):
        name = f"{name}_{unit}"
    return f"{name}_total" if counter["kind"] == "counter" and name[-6:] != "_total" else name


def label_texts(labels: Mapping[str, str], *, own: bool = False) -> list[str]:
    """``name="value"`` of each label; with ``own``, names of our own labels are no others'."""
    return [
        f'{_NO_LABEL.sub("_", name) if own else _label_name(name)}="{escaped(str(value))}"'
        for name, value in labels.items()
    ]


def escaped(text: str) -> str:
    """``text`` as it stands between quotes."""
    return _TO_ESCAPE.sub(lambda found: "\\n" if found[0] == "\n" else f"\\{found[0]}", text)


def number(value: float) -> str:
    """A number as Prometheus writes it."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _label_name(name: str) -> str:
    name = _NO_LABEL.sub("_", name)
    taken = name in OWN_LABELS or name.startswith("__") or name[:1].isdigit()
    return f"exported_{name}" if taken else name


def _heading(name: str, kind: str, words: str) -> list[str]:
    told = words.replace("\\", "\\\\").replace("\n", "\\n")
    return [f"# HELP {name} {told}\n", f"# TYPE {name} {kind}\n"]


def _plain(name: str, series: Series) -> list[str]:
    at, labels = series.start, series.labels
    if not math.isfinite(sum(row[at] for _, row in series.daemons)):
        return [f"{name}{{{who}{labels}}} {number(row[at])}\n" for who, row in series.daemons]
    return [f"{name}{{{who}{labels}}} {row[at]!r}\n" for who, row in series.daemons]


def _average(name: str, series: Series) -> list[str]:
    at, labels = series.start, series.labels
    return [
        f"{name}_sum{{{who}{labels}}} {row[at]!r}\n{name}_count{{{who}{labels}}} {row[at + 1]!r}\n"
        for who, row in series.daemons
    ]


def _histogram(name: str, series: Series) -> list[str]:
    lines = []
    bounds = [*map(number, series.bounds), "+Inf"]
    for who, row in series.daemons:
        *counts, total = row[series.start : series.stop]
        upto = 0.0
        labels = f"{who}{series.labels}"
        for bound, upto in zip(bounds, accumulate(counts), strict=True):
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {upto!r}\n')
        lines.append(f"{name}_sum{{{labels}}} {total!r}\n{name}_count{{{labels}}} {upto!r}\n")
    return lines


_LINES: Final = {
    "gauge": _plain,
    "counter": _plain,
    "average": _average,
    "histogram": _histogram,
}
