"""Writes Prometheus' text format, directly from whole rows of numbers.

prometheus-client creates an object for each sample, which takes 8 µs; a fleet of ten thousand
daemons with a hundred counters has a million samples. Here a line is one formatted string and takes
a tenth of that. The tests parse the output with that library.
"""

from __future__ import annotations

import math
import re
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TYPES: Final = {
    "gauge": "gauge",
    "counter": "counter",
    "average": "summary",
    "histogram": "histogram",
}
ENDINGS: Final = {
    "gauge": ("",),
    "counter": ("",),
    "average": ("", "_sum", "_count"),
    "histogram": ("", "_bucket", "_sum", "_count"),
}
"""Suffixes that the lines of a family may have after its name."""
OWN_LABELS: Final = frozenset({"daemon", "le", "quantile"})
"""Labels that are our own. A counter's label with such a name is exported under another name."""
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_:]")
_NO_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")
_TO_ESCAPE: Final = re.compile(r'[\\"\n]')


class Series(NamedTuple):
    """One counter of all daemons that share an entry of ``get_counter_rows``."""

    labels: str
    start: int
    stop: int
    bounds: tuple[float, ...]
    daemons: Sequence[tuple[str, Sequence[float]]]


@dataclass(slots=True, eq=False)
class Family:
    """The series that are exported under one name, if no other family uses that name.

    Attributes:
        own: Number of daemons that have it and whose type is the beginning of its path.
        all: Number of its samples.

    """

    name: str
    kind: str
    help: str
    series: list[Series] = field(default_factory=list)
    own: int = 0
    all: int = 0

    @property
    def names(self) -> set[str]:
        """The names at the beginning of its lines."""
        return {self.name + ending for ending in ENDINGS[self.kind]}


class Families:
    """All counters of daemons, by the names under which they are exported.

    One invalid line makes a whole scrape fail, and all series of a name must have the same type.
    So conflicting counters are left out: no daemon can break the export of others.

    Attributes:
        left_out: Number of samples left out by the last ``texts``.

    """

    def __init__(self, reserved: Collection[str] = ()) -> None:
        """Begin without families; counters are not exported under the names in ``reserved``."""
        self.left_out = 0
        self._reserved = frozenset(reserved)
        self._unclear = 0
        self._families: dict[tuple[str, str], Family] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add one entry of ``get_counter_rows``."""
        daemons = [(f'daemon="{escaped(name)}"', row) for name, row in entry["rows"].items()]
        types = Tally(name.partition(".")[0] for name in entry["rows"])
        seen: set[tuple[str, str, str]] = set()
        for counter in entry["counters"]:
            name, kind = metric_name(counter), counter["kind"]
            texts = label_texts(counter["labels"])
            labels = "".join(f",{each}" for each in texts.values())
            # Prometheus accepts neither two labels of one name nor two samples of one series.
            if len(texts) < len(counter["labels"]) or (name, kind, labels) in seen:
                self._unclear += len(daemons)
                continue
            seen.add((name, kind, labels))
            family = self._families.get((name, kind))
            if family is None:
                family = self._families[name, kind] = Family(name, kind, counter["description"])
            place = counter["start"], counter["stop"]
            family.series.append(Series(labels, *place, tuple(counter["bounds"]), daemons))
            family.own += types[counter["path"].partition(".")[0]]
            family.all += len(daemons)

    def texts(self) -> Iterable[bytes]:
        """Yield the text of each exported family."""
        chosen = self._exported_families()
        self.left_out = self._unclear + sum(
            each.all for each in self._families.values() if each not in chosen
        )
        for family in self._families.values():
            if family not in chosen:
                continue
            lines = _heading(family.name, TYPES[family.kind], family.help)
            for series in family.series:
                lines += _LINES[family.kind](family.name, series)
            yield "".join(lines).encode(errors="replace")

    def _exported_families(self) -> set[Family]:
        """Return the families to export: of those that share a name, the one with more daemons.

        Daemons whose type is the beginning of the path count first: ``rgw.requests`` has the type
        that ``rgw`` daemons declare, however many others declare another one.
        """
        used_names = set(self._reserved)
        chosen: set[Family] = set()
        for family in sorted(self._families.values(), key=lambda each: (-each.own, -each.all)):
            if used_names.isdisjoint(family.names):
                used_names |= family.names
                chosen.add(family)
        return chosen


def family_text(
    name: str, kind: str, words: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> bytes:
    """Format a family from samples with their labels; empty if there are no samples."""
    lines = [
        f"{name}{{{','.join(label_texts(labels, own=True).values())}}} {number(value)}\n"
        for labels, value in samples
    ]
    return (
        "".join([*_heading(name, kind, words), *lines]).encode(errors="replace") if lines else b""
    )


def metric_name(counter: Mapping[str, Any]) -> str:
    """Return a counter's name in Prometheus' style: with its unit, and ``_total`` if it grows."""
    name = _NO_NAME.sub("_", counter["path"])
    name = f"_{name}" if name[:1].isdigit() else name
    unit = counter["unit"]
    if unit and not name.endswith((f"_{unit}", f"_{unit}_total")):
        name = f"{name}_{unit}"
    return f"{name}_total" if counter["kind"] == "counter" and name[-6:] != "_total" else name


def label_texts(labels: Mapping[str, str], *, own: bool = False) -> dict[str, str]:
    """Return ``name="value"`` by exported label name; of two with the same name, the first.

    With ``own`` these are our own labels, whose names are not replaced.
    """
    texts: dict[str, str] = {}
    for name, value in labels.items():
        shown = _NO_LABEL.sub("_", name) if own else _label_name(name)
        texts.setdefault(shown, f'{shown}="{escaped(str(value))}"')
    return texts


def escaped(text: str) -> str:
    """Escape ``text`` for use between quotes."""
    return _TO_ESCAPE.sub(lambda found: "\\n" if found[0] == "\n" else f"\\{found[0]}", text)


def number(value: float) -> str:
    """Format a number as Prometheus expects it."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _label_name(name: str) -> str:
    name = _NO_LABEL.sub("_", name)
    reserved = name in OWN_LABELS or name.startswith("__") or name[:1].isdigit()
    return f"exported_{name}" if reserved or not name else name


def _heading(name: str, kind: str, words: str) -> list[str]:
    help_text = words.replace("\\", "\\\\").replace("\n", "\\n")
    return [f"# HELP {name} {help_text}\n", f"# TYPE {name} {kind}\n"]


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
