"""Performance counters: their schema, declared once by a daemon, and the last points reported.

A report is one row of numbers and stored as such: no Python object is made for a value until it is
read. Only the event loop writes; every thread may read, without a lock: see ``Ring``.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from mgr.errors import ReportRefusedError

POINTS_MAX: Final = 20
"""Points kept of every counter, as in ceph-mgr."""

ROWS: Final = POINTS_MAX + 1
"""Rows that a ring has room for."""
HEADER: Final = Struct("=QQ")
"""Stands before a ring in memory that other processes read: its owner, its rows so far."""
Labels = tuple[tuple[str, str], ...]


class Kind(IntEnum):
    """Type of a counter's values. The numbers are those of the protocol."""

    GAUGE = 1
    COUNTER = 2
    AVERAGE = 3
    HISTOGRAM = 4


class Unit(IntEnum):
    """Unit of a counter's values. The numbers are those of the protocol."""

    NONE = 0
    BYTES = 1
    SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One counter as declared by a daemon.

    Attributes:
        priority: 10 critical, 8 interesting, 5 useful, 2 uninteresting, 0 for debugging.
        labels: Sorted labels; without labels the counter is read by its path alone.
        bounds: Upper bounds of a histogram's buckets, without the infinite one.

    """

    group: str
    name: str
    kind: Kind = Kind.GAUGE
    description: str = ""
    nick: str = ""
    unit: Unit = Unit.NONE
    priority: int = 5
    labels: Labels = ()
    bounds: tuple[float, ...] = ()

    @property
    def path(self) -> str:
        """Name by which a counter without labels is read."""
        return f"{self.group}.{self.name}"

    @property
    def width(self) -> int:
        """Number of values that the counter has in a row."""
        if self.kind is Kind.HISTOGRAM:
            return len(self.bounds) + 2  # the infinite bucket, and the sum
        return 2 if self.kind is Kind.AVERAGE else 1


class Slot(NamedTuple):
    """A counter and the position of its values in a row."""

    counter: Counter
    start: int
    stop: int


class Schema:
    """The counters of a daemon, in the order of the values in its reports. Immutable."""

    __slots__ = ("__weakref__", "_by_labels", "_by_path", "_pack", "digest", "slots", "width")

    def __init__(self, counters: Sequence[Counter], digest: bytes = b"") -> None:
        """Lay out ``counters``; ``digest`` identifies this schema.

        Raises:
            ReportRefusedError: Two of them have the same path and labels.

        """
        self.digest: Final = digest
        starts = accumulate((each.width for each in counters), initial=1)  # the time comes first
        self.slots: Final = tuple(
            Slot(each, start, start + each.width)
            for each, start in zip(counters, starts, strict=False)
        )
        self.width: Final = self.slots[-1].stop - 1 if self.slots else 0
        self._pack = Struct(f"{self.width + 1}d").pack
        self._by_path = {s.counter.path: s for s in self.slots if not s.counter.labels}
        self._by_labels = {
            (s.counter.group, s.counter.name, s.counter.labels): s for s in self.slots
        }
        if len(self._by_labels) < len(self.slots):
            seen: set[tuple[str, Labels]] = set()
            for slot in self.slots:
                which = (slot.counter.path, slot.counter.labels)
                if which in seen:
                    raise ReportRefusedError("schema", f"{slot.counter.path!r} is declared twice")
                seen.add(which)

    def slot(self, path: str) -> Slot | None:
        """Return the counter without labels that has this path."""
        return self._by_path.get(path)

    def slot_with_labels(
        self, group: str, name: str, labels: Sequence[tuple[str, str]]
    ) -> Slot | None:
        """Return the counter with exactly these labels, in any order."""
        return self._by_labels.get((group, name, tuple(sorted(labels))))

    def row(self, at: float, values: Sequence[float]) -> array[float]:
        """Return the stored form of ``values``, which fit the schema, and of their time ``at``."""
        # Packing is twice as fast as making an array of the numbers.
        return array("d", self._pack(at, *values))

    def check(self, values: Sequence[float]) -> None:
        """Check that ``values`` is a row of this schema.

        Raises:
            ReportRefusedError: Too many or too few values, or one is infinite or NaN that is
                not a gauge's.

        """
        if len(values) != self.width:
            raise ReportRefusedError(
                "values", f"{len(values)} values where {self.width} were declared"
            )
        # Summing a hundred numbers is faster than checking each of them.
        if not math.isfinite(sum(values)):
            self._check_each(values)

    def _check_each(self, values: Sequence[float]) -> None:
        for counter, start, stop in self.slots:
            if counter.kind is Kind.GAUGE:
                continue
            if not all(map(math.isfinite, values[start - 1 : stop - 1])):
                raise ReportRefusedError(
                    "values", f"{counter.path!r} is no number: only gauges may be infinite or NaN"
                )


EMPTY: Final = Schema(())


class Schemas:
    """Schemas in use, each stored once: ten thousand daemons of one type share one object."""

    def __init__(self) -> None:
        """Begin without schemas."""
        self._by_digest: WeakValueDictionary[bytes, Schema] = WeakValueDictionary()

    def find(self, before: Schema, declaration: bytes) -> Schema | None:
        """Return ``before`` extended by ``declaration``; None if no daemon has declared that."""
        return self._by_digest.get(_digest(before, declaration))

    def extend(self, before: Schema, declaration: bytes, added: Sequence[Counter]) -> Schema:
        """Return ``before`` extended by ``added``, the counters of ``declaration``.

        Raises:
            ReportRefusedError: See ``Schema``.

        """
        digest = _digest(before, declaration)
        schema = Schema([*(slot.counter for slot in before.slots), *added], digest)
        return self._by_digest.setdefault(digest, schema)

    def __len__(self) -> int:
        return len(self._by_digest)


def _digest(before: Schema, declaration: bytes) -> bytes:
    return blake2b(before.digest + declaration, digest_size=16).digest()


class Place(NamedTuple):
    """Where a ring is in memory that other processes read. Plain numbers, to be sent.

    Attributes:
        owner: The number in the header for as long as this is valid.
        segment_at: Where its segment begins in the file, a whole number of pages.
        segment_bytes: How large that is.
        block_at: Where the ring begins in the segment.

    """

    owner: int
    segment_at: int
    segment_bytes: int
    block_at: int


class Ring:
    """Ring buffer with the last points of all counters of one daemon.

    All rows are in one array, so that a counter is read by slices and not row by row: the rows of
    ten thousand daemons do not fit into the CPU's cache. There is room for one row more than is
    ever read. The loop writes into that row, and overwrites a row that is being read only with the
    next report.
    """

    __slots__ = ("__weakref__", "_block", "_short", "_values", "_written", "place", "schema")

    def __init__(self, schema: Schema = EMPTY) -> None:
        """Store rows of ``schema``."""
        self.schema: Final = schema
        self._values: Any = array("d")
        self._written = 0
        # Where it is shared with other processes, and that memory; None while it is not.
        self.place: Place | None = None
        self._block: memoryview | None = None
        # Pairs (number, columns): rows with a lower number have only so many columns. Both ascend.
        self._short: tuple[tuple[int, int], ...] = ()

    @property
    def stride(self) -> int:
        """Numbers in a row."""
        return self.schema.width + 1

    @property
    def short(self) -> tuple[tuple[int, int], ...]:
        """Which rows have fewer columns, for a reader in another process."""
        return self._short

    def move(self, block: memoryview, place: Place) -> None:
        """Keep the rows in ``block``, at ``place``, where other processes read them."""
        values = block[HEADER.size :].cast("d")
        values[: len(self._values)] = self._values
        HEADER.pack_into(block, 0, place.owner, self._written)
        self._block, self._values, self.place = block, values, place

    def add(self, at: float, values: Sequence[float]) -> None:
        """Store ``values``, which fit the schema, with their time ``at``."""
        row = self.schema.row(at, values)
        place = self._written % ROWS * len(row)
        self._values[place : place + len(row)] = row
        self._written += 1
        if self._block is not None and self.place is not None:
            # After the row: a reader looks at no row that is not counted.
            HEADER.pack_into(self._block, 0, self.place.owner, self._written)

    def with_schema(self, schema: Schema) -> Ring:
        """Return this ring with a schema that begins like its own; new counters have no points."""
        ring = Ring(schema)
        stride = self.schema.width + 1
        more = array("d", bytes(8 * (schema.width + 1 - stride)))
        for place in range(0, len(self._values), stride):
            ring._values += array("d", self._values[place : place + stride]) + more
        ring._written = self._written
        oldest = max(self._written - POINTS_MAX, 0)
        short = (*self._short, (self._written, stride))
        ring._short = tuple(pair for pair in short if pair[0] > oldest)
        return ring

    # Readers take no lock. If a row was added while they read (_written changed), the values may
    # mix two reports, and they read again. Reading takes far less time than passes between two
    # reports, so a second repetition is rare.

    def points(self, slot: Slot) -> list[list[float]]:
        """Return the time and values of each row, from old to new. From any thread."""
        _, start, stop = slot
        values, stride = self._values, self.schema.width + 1
        others: list[Any] = []
        while True:
            written = self._written
            times, column = values[::stride], values[start::stride]
            if stop > start + 1:
                others = [values[each::stride] for each in range(start + 1, stop)]
            if self._block is not None:
                # Slices of memory are no copies.
                times, column, *others = (each.tolist() for each in (times, column, *others))
            if written == self._written:
                break
        # In the order of the array. A row that is being written may be among them, as the last.
        if others:
            points = [list(point) for point in zip(times, column, *others, strict=False)]
        else:
            points = [[at, value] for at, value in zip(times, column, strict=False)]
        first = written - POINTS_MAX if written > POINTS_MAX else 0
        if self._short:
            first = max(first, self._since(stop))
        if turn := first % ROWS:
            points = points[turn:] + points[:turn]
        del points[written - first :]
        return points

    def latest(self, slot: Slot) -> list[float]:
        """Return the time and values of the newest row, or an empty list. From any thread."""
        values, stride = self._values, self.schema.width + 1
        while True:
            written = self._written
            if written <= self._since(slot.stop):
                return []
            place = (written - 1) % ROWS * stride
            point = [values[place], *values[place + slot.start : place + slot.stop]]
            if written == self._written:
                return point

    def newest(self) -> list[array[float]]:
        """Return the newest row and the one before it, each with its time first. From any thread.

        Rows that lack a counter are left out.
        """
        values, stride = self._values, self.schema.width + 1
        while True:
            written = self._written
            first = max(written - 2, self._since(stride))
            places = [number % ROWS * stride for number in range(written - 1, first - 1, -1)]
            rows = [array("d", values[place : place + stride]) for place in places]
            if written == self._written:
                return rows

    def _since(self, stop: int) -> int:
        """Return the number of the oldest row that has the columns before ``stop``."""
        since = 0
        for below, columns in self._short:
            if columns < stop:
                since = below
        return since


NO_POINTS: Final = Ring()
"""Ring of every daemon that has declared no counters: it stays empty."""


def labels_of(labels: Mapping[str, str]) -> Labels:
    """Return ``labels`` in the form of ``Counter.labels``."""
    return tuple(sorted(labels.items()))
