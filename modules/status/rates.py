"""Rows of counters: all counters of the fleet, and the daemons with the highest values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

Entry = Mapping[str, Any]
"""One of ``get_counter_rows``."""
Row = dict[str, object]

UNKNOWN: Final = "-"
DIGITS: Final = 6
"""Significant digits of computed values."""
DIGITS_EXACT: Final = 15
"""Significant digits of counted values: as many decimal digits as a float keeps exactly."""


def counters(entries: Iterable[Entry]) -> list[Row]:
    """Return a row for each counter, by path: its description and the number of its daemons."""
    rows: dict[str, Row] = {}
    daemons: dict[str, set[str]] = {}
    for entry in entries:
        for counter in entry["counters"]:
            path = counter["path"]
            rows.setdefault(
                path,
                {
                    "path": path,
                    "kind": counter["kind"],
                    "unit": counter["unit"],
                    "priority": counter["priority"],
                    "daemons": 0,
                    "labels": " ".join(sorted(counter["labels"])),
                    "description": counter["description"],
                },
            )
            daemons.setdefault(path, set()).update(entry["rows"])
    for path, row in rows.items():
        row["daemons"] = len(daemons[path])
    return [rows[path] for path in sorted(rows)]


def top(entries: Iterable[Entry], path: str, count: int) -> list[Row]:
    """Return the ``count`` daemons whose counter ``path`` grows fastest; of a gauge, the largest.

    Rates are per second, between a daemon's last two reports; a mean is that of the observations
    between them. Unknown (``-``) before the second report, and after the daemon restarted.
    """
    found = [row for entry in entries for row in _of(entry, path)]
    found.sort(key=lambda row: _order(row["rate" if "rate" in row else "value"]), reverse=True)
    return found[:count]


def _of(entry: Entry, path: str) -> Iterator[Row]:
    for counter in entry["counters"]:
        if counter["path"] != path:
            continue
        labels = ",".join(f"{name}={value}" for name, value in counter["labels"].items())
        place = slice(counter["start"], counter["stop"])
        for daemon, row in entry["rows"].items():
            before = entry["before"].get(daemon)
            identity = {"daemon": daemon, **({"labels": labels} if labels else {})}
            now = _values(counter["kind"], row[place])
            then = None if before is None else _values(counter["kind"], before[place])
            elapsed_s = 0.0 if before is None else row[0] - before[0]
            yield {**identity, **_shown(counter["kind"], now, then, elapsed_s)}


def _values(kind: str, values: Sequence[float]) -> tuple[float, float]:
    """Return sum and count of the observations; of a plain counter its value, twice."""
    match kind:
        case "average":
            return values[0], values[1]
        case "histogram":
            return values[-1], sum(values[:-1])
        case _:
            return values[0], values[0]


def _shown(
    kind: str, now: tuple[float, float], then: tuple[float, float] | None, elapsed_s: float
) -> Row:
    if kind == "gauge":
        return {"value": _exact(now[0])}
    grown = None if then is None else now[1] - then[1]
    # Less than before: the daemon was restarted.
    known = grown is not None and grown >= 0 and elapsed_s > 0
    rate = _short(grown / elapsed_s) if known and grown is not None else UNKNOWN
    if kind == "counter":
        return {"value": _exact(now[0]), "rate": rate}
    mean = _short((now[0] - then[0]) / grown) if known and grown and then else UNKNOWN
    return {"count": _exact(now[1]), "rate": rate, "mean": mean}


def _short(value: float) -> float | int:
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _exact(value: float) -> float | int:
    return int(value) if value.is_integer() else float(f"{value:.{DIGITS_EXACT}g}")


def _order(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("-inf")
