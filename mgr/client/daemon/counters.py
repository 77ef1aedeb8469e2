"""Counters of a program: any thread changes them in a fraction of a microsecond.

Nothing is sent when a counter changes. A report reads all of them, a few hundred nanoseconds
each, so counting often costs no network traffic.
"""

from __future__ import annotations

import bisect
import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar, Final, TypeVar

from mgr.client.daemon.validation import check_description, check_priority, check_text
from mgr.clock import CLOCK
from mgr.errors import InvalidArgumentError
from mgr.report_limits import BOUNDS_MAX, COUNTERS_MAX, LABELS_MAX, VALUES_EACH

SERIES_MAX: Final = COUNTERS_MAX
"""Limit for one program: labels made from user input would grow without end."""
CRITICAL, INTERESTING, USEFUL, UNINTERESTING, DEBUG = 10, 8, 5, 2, 0
"""Priorities. The manager configures the lowest one that is reported."""
UNITS: Final = ("", "bytes", "seconds")
LABEL_LENGTH_MAX: Final = 128

_GROUP: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """The declaration of a counter.

    Attributes:
        group: First part of its path: ``rgw`` of ``rgw.requests``.
        name: The rest of its path; may hold dots.
        labels: Pairs of name and value, sorted: they distinguish series of one path.
        description: One line for people.
        unit: One of ``UNITS``.
        priority: From ``DEBUG`` to ``CRITICAL``.
        nick: A few letters for the head of a column.
        bounds: Of a histogram: upper bounds, ascending, without the infinite one.

    """

    group: str
    name: str
    labels: tuple[tuple[str, str], ...] = ()
    description: str = ""
    unit: str = ""
    priority: int = INTERESTING
    nick: str = ""
    bounds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not _GROUP.fullmatch(self.group) or not _NAME.fullmatch(self.name):
            raise InvalidArgumentError(
                f"counter {self.group}.{self.name}: use letters, digits, '_' and '-'; in the "
                "name after the group also dots"
            )
        what = f"counter {self.group}.{self.name}"
        check_text(f"{what}: nick", self.nick)
        check_description(f"{what}: description", self.description)
        if self.unit not in UNITS:
            raise InvalidArgumentError(
                f"counter {self.name}: unit {self.unit!r}: use one of {UNITS}"
            )
        if not all(_LABEL.fullmatch(name) for name, _ in self.labels):
            raise InvalidArgumentError(
                f"counter {self.name}: use label names like those of variables"
            )
        if len(self.labels) > LABELS_MAX:
            raise InvalidArgumentError(
                f"{what}: {len(self.labels)} labels, use at most {LABELS_MAX}"
            )
        check_priority(what, self.priority)
        self._check_bounds()

    def _check_bounds(self) -> None:
        if len(self.bounds) > BOUNDS_MAX:
            raise InvalidArgumentError(
                f"histogram {self.name}: {len(self.bounds)} bounds, use at most {BOUNDS_MAX}"
            )
        ascending = all(low < high for low, high in zip(self.bounds, self.bounds[1:], strict=False))
        if not ascending or not all(map(isfinite, self.bounds)):
            raise InvalidArgumentError(
                f"histogram {self.name}: bounds must be finite and ascending"
            )


class Series:
    """One counter with its labels. Any thread may change it, and so may a signal handler."""

    KIND: ClassVar[str]
    width = 1
    """Number of its values."""
    __slots__ = ("_lock", "removed", "spec")

    def __init__(self, spec: SeriesSpec) -> None:
        self.spec = spec
        self.removed = False
        # Reentrant: a signal handler or a destructor may change it during a change.
        self._lock = threading.RLock()

    def read(self) -> Sequence[float]:
        """Return its ``width`` values, all finite."""
        raise NotImplementedError

    def remove(self) -> None:
        """Stop reporting it. It may still be changed, which has no effect."""
        self.removed = True


class Counter(Series):
    """A number that only grows, from 0 at the start of the program."""

    KIND = "counter"
    __slots__ = ("_value",)

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self._value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add ``amount``.

        Raises:
            ValueError: It is negative, infinite or NaN; use a gauge for what goes down.

        """
        if not 0 <= amount < inf:
            raise ValueError(f"{self.spec.name}: a counter cannot grow by {amount}")
        with self._lock:
            total = self._value + amount
            # Never infinite: the manager would refuse every further report.
            if total < inf:
                self._value = total

    def set_total(self, total: float) -> None:
        """Set it to a total that is counted elsewhere; a lower one than before is a reset.

        Raises:
            ValueError: It is negative, infinite or NaN; the total before stays.

        """
        if not 0 <= total < inf:
            raise ValueError(f"{self.spec.name}: {total} is no total of a counter")
        self._value = total

    def read(self) -> Sequence[float]:
        """Return its one value."""
        return (float(self._value),)


class Gauge(Series):
    """A number that goes up and down."""

    KIND = "gauge"
    __slots__ = ("_failure_logged", "_value", "function")

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self._value = 0.0
        self._failure_logged = False
        self.function: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        """Set it to ``value``; a value that is not finite is ignored."""
        if isfinite(value):
            self._value = value

    def inc(self, amount: float = 1) -> None:
        """Add ``amount``."""
        with self._lock:
            total = self._value + amount
            if isfinite(total):
                self._value = total

    def dec(self, amount: float = 1) -> None:
        """Subtract ``amount``."""
        self.inc(-amount)

    def sample(self) -> None:
        """Set it to the result of its function; if that raises, keep the value and log it once."""
        if self.function is None:
            return
        try:
            self.set(self.function())
        except BaseException:  # the edge of the program's code, on a thread for that alone
            if not self._failure_logged:
                log.exception(
                    "gauge function failed, reporting its last value",
                    extra={"counter": self.spec.name},
                )
            self._failure_logged = True
        else:
            self._failure_logged = False

    def read(self) -> Sequence[float]:
        """Return its one value."""
        return (float(self._value),)


class _Observations(Series):
    """A series that takes observations."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Add one observation; one that is not finite is ignored."""
        raise NotImplementedError

    @contextlib.contextmanager
    def time(self) -> Iterator[None]:
        """Observe how many seconds the block took, also if it raises."""
        begun_s = CLOCK.now()
        try:
            yield
        finally:
            self.observe(CLOCK.now() - begun_s)


class Average(_Observations):
    """Sum and number of observations, which give an average over any span, and a rate."""

    KIND = "average"
    width = 2
    __slots__ = ("_count", "_sum")

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self._sum = 0.0
        self._count = 0.0

    def observe(self, value: float) -> None:
        """Add one observation; one that makes the sum infinite or NaN is ignored."""
        with self._lock:
            total = self._sum + value
            if isfinite(total):
                self._sum = total
                self._count += 1

    def set_totals(self, total: float, count: float) -> None:
        """Set it to the sum and the number of observations that are made elsewhere.

        Raises:
            ValueError: One is infinite or NaN, or the number is negative; nothing is changed.

        """
        if not isfinite(total) or not 0 <= count < inf:
            raise ValueError(f"{self.spec.name}: {total} and {count} are no sum and number")
        with self._lock:
            self._sum, self._count = total, count

    def read(self) -> Sequence[float]:
        """Return the sum and the number of observations."""
        with self._lock:
            return (self._sum, float(self._count))


class Histogram(_Observations):
    """Number of observations in each bucket, and their sum."""

    KIND = "histogram"
    __slots__ = ("_buckets", "_sum", "width")

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self.width = len(spec.bounds) + 2
        self._buckets: list[float] = [0.0] * (len(spec.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Add one observation; one that makes the sum infinite or NaN is ignored.

        A value equal to a bound is counted in the bucket below it.
        """
        bucket = bisect.bisect_left(self.spec.bounds, value)
        with self._lock:
            total = self._sum + value
            if isfinite(total):
                self._buckets[bucket] += 1
                self._sum = total

    def set_buckets(self, counts: Sequence[float], total: float) -> None:
        """Set it to buckets that are counted elsewhere, and to the sum of their observations.

        ``counts`` has each bucket's own count, the unbounded one last.

        Raises:
            ValueError: There are not as many as buckets, one is negative, or a number is infinite
                or NaN; nothing is changed.

        """
        if len(counts) != len(self._buckets) or not all(0 <= count < inf for count in counts):
            raise ValueError(f"{self.spec.name}: {len(counts)} counts do not fit its buckets")
        if not isfinite(total):
            raise ValueError(f"{self.spec.name}: {total} is no sum")
        with self._lock:
            self._buckets, self._sum = list(counts), total

    def read(self) -> Sequence[float]:
        """Return the count of each bucket, not cumulated, the unbounded one last; then the sum."""
        with self._lock:
            return (*map(float, self._buckets), self._sum)


S = TypeVar("S", Counter, Gauge, Average, Histogram)


class Counters:
    """All counters of a program.

    ``get`` returns the same counter for the same path and labels, so a program does not need to
    store the counters that it made.
    """

    def __init__(self, group: str, *, series_max: int = SERIES_MAX) -> None:
        """Use ``group`` for counters that name no other group."""
        self.group = group
        self._series_max = series_max
        self._width = 0
        self._lock = threading.RLock()
        self._series: dict[tuple[str, str, tuple[tuple[str, str], ...]], Series] = {}
        self._full = False

    def get(
        self,
        kind: type[S],
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        group: str = "",
        **options: object,
    ) -> S:
        """Return the counter of that path and labels, made if new; ``options`` as ``SeriesSpec``.

        Beyond ``series_max`` counters, or twice as many values, the counter works but is not
        reported; that is logged once.

        Raises:
            InvalidArgumentError: It exists and is of another kind, or an option is invalid.

        """
        pairs = tuple(sorted((key, _label_value(value)) for key, value in (labels or {}).items()))
        key = (group or self.group, name, pairs)
        with self._lock:
            found = self._series.get(key)
            if found is None or found.removed:
                found = kind(SeriesSpec(*key, **options))  # type: ignore[arg-type]  # checked by SeriesSpec
                self._add(key, found)
        if not isinstance(found, kind):
            raise InvalidArgumentError(f"{key[0]}.{name} is a {found.KIND}, not a {kind.KIND}")
        return found

    def live(self) -> list[Series]:
        """Return every counter that is to be reported, in the order in which they were made."""
        with self._lock:
            for key in [key for key, series in self._series.items() if series.removed]:
                self._drop(key)
            return list(self._series.values())

    def function_gauges(self) -> list[Gauge]:
        """Return the gauges that have a function."""
        return [each for each in self.live() if isinstance(each, Gauge) and each.function]

    def _add(self, key: tuple[str, str, tuple[tuple[str, str], ...]], made: Series) -> None:
        if key in self._series:
            # Added at the end, not where the removed one was: the declared order must not change.
            self._drop(key)
        width_max = VALUES_EACH * self._series_max
        if len(self._series) < self._series_max and self._width + made.width <= width_max:
            self._series[key] = made
            self._width += made.width
        elif not self._full:
            self._full = True
            log.warning(
                "too many counters or values: new ones are not reported, use fewer labels",
                extra={
                    "counters_max": self._series_max,
                    "values_max": width_max,
                    "counter": f"{key[0]}.{key[1]}",
                },
            )

    def _drop(self, key: tuple[str, str, tuple[tuple[str, str], ...]]) -> None:
        self._width -= self._series.pop(key).width


def _label_value(value: object) -> str:
    """Return ``value`` as a short printable text: programs make labels of user input."""
    text = str(value)[:LABEL_LENGTH_MAX]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
