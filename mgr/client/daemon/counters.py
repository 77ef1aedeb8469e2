"""Counters of a program: changed from any thread in a fraction of a microsecond, read for reports.

Nothing is sent when a counter changes. A report reads all of them, a few hundred nanoseconds
each, so how often a program counts costs the network nothing.
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
"""Of one program. Labels made of what users send grow without end: others count for nothing."""
CRITICAL, INTERESTING, USEFUL, UNINTERESTING, DEBUG = 10, 8, 5, 2, 0
"""Priorities. The manager says below which it wants no reports."""
UNITS: Final = ("", "bytes", "seconds")
LABEL_LENGTH_MAX: Final = 128

_GROUP: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """What is said of a counter when it is declared.

    Attributes:
        group: With ``name`` the path by which it is read: ``rgw.requests``.
        name: May hold dots.
        labels: Pairs, by name: tell series of one path apart.
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
                f"counter {self.group}.{self.name}: a name is letters, digits, '_', '-' and, "
                "behind its group, dots"
            )
        what = f"counter {self.group}.{self.name}"
        check_text(f"{what}: nick", self.nick)
        check_description(f"{what}: description", self.description)
        if self.unit not in UNITS:
            raise InvalidArgumentError(
                f"counter {self.name}: unit {self.unit!r} is none of {UNITS}"
            )
        if not all(_LABEL.fullmatch(name) for name, _ in self.labels):
            raise InvalidArgumentError(f"counter {self.name}: a label is named like a variable")
        if len(self.labels) > LABELS_MAX:
            raise InvalidArgumentError(
                f"{what}: {len(self.labels)} labels, at most {LABELS_MAX} are taken"
            )
        check_priority(what, self.priority)
        self._check_bounds()

    def _check_bounds(self) -> None:
        if len(self.bounds) > BOUNDS_MAX:
            raise InvalidArgumentError(
                f"histogram {self.name}: {len(self.bounds)} bounds, at most {BOUNDS_MAX} are taken"
            )
        ascending = all(low < high for low, high in zip(self.bounds, self.bounds[1:], strict=False))
        if not ascending or not all(map(isfinite, self.bounds)):
            raise InvalidArgumentError(f"histogram {self.name}: bounds are finite and ascend")


class Series:
    """One counter with its labels. Safe to change from any thread, also from a signal's handler."""

    KIND: ClassVar[str]
    width = 1
    """How many values it has."""
    __slots__ = ("_lock", "retired", "spec")

    def __init__(self, spec: SeriesSpec) -> None:
        self.spec = spec
        self.retired = False
        # Reentrant: a signal's handler or a destructor may count in the middle of counting.
        self._lock = threading.RLock()

    def read(self) -> Sequence[float]:
        """As many values as the kind has, finite ones."""
        raise NotImplementedError

    def retire(self) -> None:
        """Say no more of it. What it is asked to count from now on goes nowhere."""
        self.retired = True


class Counter(Series):
    """Only grows, from the start of the program."""

    KIND = "counter"
    __slots__ = ("_value",)

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self._value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count ``amount`` more.

        Raises:
            ValueError: It is negative, or no number: a gauge goes down, a counter never.

        """
        if not 0 <= amount < inf:
            raise ValueError(f"{self.spec.name}: a counter does not grow by {amount}")
        with self._lock:
            total = self._value + amount
            # Beyond all numbers it stays: the manager would refuse every further report.
            if total < inf:
                self._value = total

    def read(self) -> Sequence[float]:
        """One value."""
        return (float(self._value),)


class Gauge(Series):
    """Goes up and down."""

    KIND = "gauge"
    __slots__ = ("_failure_logged", "_value", "function")

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self._value = 0.0
        self._failure_logged = False
        self.function: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        """Be ``value``; what is not finite leaves it as it was."""
        if isfinite(value):
            self._value = value

    def inc(self, amount: float = 1) -> None:
        """Be higher by ``amount``."""
        with self._lock:
            total = self._value + amount
            if isfinite(total):
                self._value = total

    def dec(self, amount: float = 1) -> None:
        """Be lower by ``amount``."""
        self.inc(-amount)

    def sample(self) -> None:
        """Ask the gauge's function; if it raises, the value stays, and that is logged once."""
        if self.function is None:
            return
        try:
            self.set(self.function())
        except BaseException:  # the edge of the program's code, on a thread for that alone
            if not self._failure_logged:
                log.exception("a gauge's function raised", extra={"counter": self.spec.name})
            self._failure_logged = True
        else:
            self._failure_logged = False

    def read(self) -> Sequence[float]:
        """One value."""
        return (float(self._value),)


class _Observations(Series):
    """What takes observations."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Take one observation in; one that is not finite is passed over."""
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
    """The sum of what was observed and how often: an average over any span, a rate as well."""

    KIND = "average"
    width = 2
    __slots__ = ("_count", "_sum")

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self._sum = 0.0
        self._count = 0

    def observe(self, value: float) -> None:
        """Take one observation in; one with which the sum is not finite is passed over."""
        with self._lock:
            total = self._sum + value
            if isfinite(total):
                self._sum = total
                self._count += 1

    def read(self) -> Sequence[float]:
        """The sum, and how often."""
        with self._lock:
            return (self._sum, float(self._count))


class Histogram(_Observations):
    """How many observations fell between which bounds, and their sum."""

    KIND = "histogram"
    __slots__ = ("_buckets", "_sum", "width")

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__(spec)
        self.width = len(spec.bounds) + 2
        self._buckets = [0] * (len(spec.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take one observation in; one with which the sum is not finite is passed over.

        A value equal to a bound is below it.
        """
        bucket = bisect.bisect_left(self.spec.bounds, value)
        with self._lock:
            total = self._sum + value
            if isfinite(total):
                self._buckets[bucket] += 1
                self._sum = total

    def read(self) -> Sequence[float]:
        """Each bucket's own count, the last without a bound; then the sum."""
        with self._lock:
            return (*map(float, self._buckets), self._sum)


S = TypeVar("S", Counter, Gauge, Average, Histogram)


class Counters:
    """All counters of a program.

    Asking again for a path with the same labels gives the same counter, so no program needs to
    keep those it made.
    """

    def __init__(self, group: str, *, series_max: int = SERIES_MAX) -> None:
        """Name them ``group.<name>`` where no other group is said."""
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
        """The counter of that path and labels, made if new; ``options`` as ``SeriesSpec``.

        Beyond ``series_max``, or twice as many values, what is returned counts and is not
        reported; that is logged once.

        Raises:
            InvalidArgumentError: It is there and of another kind, or something cannot be declared.

        """
        pairs = tuple(sorted((key, _label_value(value)) for key, value in (labels or {}).items()))
        key = (group or self.group, name, pairs)
        with self._lock:
            found = self._series.get(key)
            if found is None or found.retired:
                found = kind(SeriesSpec(*key, **options))  # type: ignore[arg-type]  # checked by SeriesSpec
                self._add(key, found)
        if not isinstance(found, kind):
            raise InvalidArgumentError(f"{key[0]}.{name} is a {found.KIND}, no {kind.KIND}")
        return found

    def live(self) -> list[Series]:
        """Every counter that is to be reported, in the order in which they were made."""
        with self._lock:
            for key in [key for key, series in self._series.items() if series.retired]:
                self._drop(key)
            return list(self._series.values())

    def function_gauges(self) -> list[Gauge]:
        """The gauges whose values a function says."""
        return [each for each in self.live() if isinstance(each, Gauge) and each.function]

    def _add(self, key: tuple[str, str, tuple[tuple[str, str], ...]], made: Series) -> None:
        if key in self._series:
            # Behind those that were declared meanwhile, not where the retired one stood.
            self._drop(key)
        width_max = VALUES_EACH * self._series_max
        if len(self._series) < self._series_max and self._width + made.width <= width_max:
            self._series[key] = made
            self._width += made.width
        elif not self._full:
            self._full = True
            log.warning(
                "too many counters or values: further ones are not reported",
                extra={
                    "counters_max": self._series_max,
                    "values_max": width_max,
                    "counter": f"{key[0]}.{key[1]}",
                },
            )

    def _drop(self, key: tuple[str, str, tuple[tuple[str, str], ...]]) -> None:
        self._width -= self._series.pop(key).width


def _label_value(value: object) -> str:
    """A label's value: printable, short. Programs put into labels what they were sent."""
    text = str(value)[:LABEL_LENGTH_MAX]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
