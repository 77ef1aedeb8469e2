"""Counters of a program that are set to the values of another metrics library.

A bridge sets all of them once for each report. A series that the other library no longer has is
removed. One that cannot be reported is left out, which is logged once for each metric.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from mgr.client.daemon.counters import Average, Counter, Gauge, Histogram, S, Series
from mgr.client.daemon.program import Program
from mgr.errors import InvalidArgumentError
from mgr.report_limits import DESCRIPTION_MAX

NAMES_LOGGED_MAX: Final = 1000
"""How many metrics that are left out are remembered, so that each is logged once."""
LABEL_NAME_MAX: Final = 64
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_LABELS: Final = re.compile(r"[^A-Za-z0-9_]")
_FIRST_WORD: Final = re.compile(r"([A-Za-z0-9-]+)[._](.+)")

log = logging.getLogger(__name__)


class Metric(NamedTuple):
    """One metric of the other library.

    Attributes:
        name: As that library has it: ``http_requests``, ``http.server.duration``.
        description: For people; made one line of the length that a daemon may declare.
        unit: ``bytes``, ``seconds`` or empty.

    """

    name: str
    description: str = ""
    unit: str = ""


class BridgedSeries:
    """The counters that one bridge sets. For one thread at a time."""

    def __init__(self, program: Program, *, group: str, priority: int) -> None:
        """Set counters of ``program``.

        With an empty ``group`` the first word of a metric's name is its group. So the module
        ``prometheus`` exports it under the name that it has.
        """
        self._program = program
        self._group = group
        self._priority = priority
        self._seen: set[Series] = set()
        self._names_logged: set[str] = set()

    @contextlib.contextmanager
    def collection(self) -> Iterator[None]:
        """Remove, after the block, the series that were not set in it.

        If the block raises, none is removed: the values are then incomplete.
        """
        before, self._seen = self._seen, set()
        try:
            yield
        except BaseException:
            self._seen |= before
            raise
        for gone in before - self._seen:
            gone.remove()

    def counter(self, metric: Metric, labels: Mapping[str, object], total: float) -> None:
        """Set a counter to its total."""
        self._set(Counter, metric, labels, lambda made: made.set_total(total))

    def gauge(self, metric: Metric, labels: Mapping[str, object], value: float) -> None:
        """Set a gauge; a value that is not finite is ignored."""
        self._set(Gauge, metric, labels, lambda made: made.set(value))

    def average(
        self, metric: Metric, labels: Mapping[str, object], total: float, count: float
    ) -> None:
        """Set an average to the sum and the number of observations."""
        self._set(Average, metric, labels, lambda made: made.set_totals(total, count))

    def histogram(
        self,
        metric: Metric,
        labels: Mapping[str, object],
        buckets: Sequence[tuple[float, float]],
        total: float,
    ) -> None:
        """Set a histogram to its buckets, and to ``total``, the sum of the observations.

        A bucket is its upper bound and its own count, not cumulated. They ascend; the last bound
        is infinite.
        """
        bounds = tuple(float(bound) for bound, _ in buckets[:-1])
        counts = [count for _, count in buckets]
        self._set(
            Histogram, metric, labels, lambda made: made.set_buckets(counts, total), bounds=bounds
        )

    def leave_out(self, name: str, why: object) -> None:
        """Log that a metric is not reported, once for each name."""
        if name not in self._names_logged and len(self._names_logged) < NAMES_LOGGED_MAX:
            self._names_logged.add(name)
            log.warning(
                "metric not reported",
                extra={"daemon": self._program.name, "metric": name, "why": str(why)},
            )

    def _set(
        self,
        kind: type[S],
        metric: Metric,
        labels: Mapping[str, object],
        change: Callable[[S], None],
        *,
        bounds: tuple[float, ...] = (),
    ) -> None:
        try:
            made = self._get(kind, metric, labels, bounds)
            if made.spec.bounds != bounds:
                made.remove()
                made = self._get(kind, metric, labels, bounds)
            if made in self._seen:
                self.leave_out(metric.name, "another series has the same name and labels")
                return
            self._seen.add(made)
            change(made)
        except (InvalidArgumentError, ValueError) as error:
            self.leave_out(metric.name, error)

    def _get(
        self,
        kind: type[S],
        metric: Metric,
        labels: Mapping[str, object],
        bounds: tuple[float, ...],
    ) -> S:
        group, name = self._path(metric.name)
        return self._program.counters.get(
            kind,
            name,
            {_label_name(name): str(value) for name, value in labels.items()},
            group=group,
            description=_one_line(metric.description),
            unit=metric.unit,
            priority=self._priority,
            bounds=bounds,
        )

    def _path(self, name: str) -> tuple[str, str]:
        """Return the group of a metric and its name in the group."""
        name = _NOT_IN_NAMES.sub("_", name)
        words = _FIRST_WORD.fullmatch(name)
        if self._group or words is None:
            return self._group, name  # an empty group: the type of the daemon
        return words[1], words[2]


def _one_line(text: str) -> str:
    return " ".join(text.encode(errors="replace").decode().split())[:DESCRIPTION_MAX]


def _label_name(name: str) -> str:
    name = _NOT_IN_LABELS.sub("_", name)[:LABEL_NAME_MAX]
    return f"_{name}"[:LABEL_NAME_MAX] if not name or name[0].isdigit() else name
