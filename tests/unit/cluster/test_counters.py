"""Counters: schemas that are shared, rings of points."""

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mgr.cluster.counters import EMPTY, NO_POINTS, POINTS_MAX, Counter, Kind, Ring, Schema, Schemas
from mgr.errors import ReportRefusedError

GAUGE = Counter(group="g", name="gauge")
AVERAGE = Counter(group="g", name="wait", kind=Kind.AVERAGE)
HISTOGRAM = Counter(group="g", name="size", kind=Kind.HISTOGRAM, bounds=(1.0, 10.0))
READS = 3_000


@pytest.fixture
def eager_threads():
    """Threads take turns as often as they can."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual_s)


def test_each_kind_has_its_number_of_values():
    """In the order of declaration, without gaps."""
    schema = Schema([GAUGE, AVERAGE, HISTOGRAM])

    assert schema.width == 1 + 2 + 4
    assert [(slot.start, slot.stop) for slot in schema.slots] == [(1, 2), (2, 4), (4, 8)]


def test_a_ring_keeps_the_last_points():
    """Twenty, from old to new; the newest alone costs no walk."""
    ring = Ring(Schema([GAUGE, AVERAGE]))
    for number in range(POINTS_MAX + 5):
        ring.add(100.0 + number, [number, 2.0 * number, 3.0])

    gauge, average = ring.schema.slots
    points = ring.points(gauge)

    assert len(points) == POINTS_MAX
    assert points[0] == [105.0, 5.0]
    assert ring.latest(average) == [124.0, 48.0, 3.0]


def test_a_ring_without_rows_has_no_points():
    """Empty, not an error: a daemon has declared and not yet reported."""
    ring = Ring(Schema([GAUGE]))

    assert ring.points(ring.schema.slots[0]) == []
    assert ring.latest(ring.schema.slots[0]) == []


def test_what_was_added_to_a_schema_has_no_points_from_before():
    """The others keep theirs."""
    schemas = Schemas()
    ring = Ring(schemas.extend(EMPTY, b"1", [GAUGE]))
    ring.add(1.0, [7.0])
    ring = ring.with_schema(schemas.extend(ring.schema, b"2", [AVERAGE]))

    gauge, average = ring.schema.slots

    assert ring.points(gauge) == [[1.0, 7.0]]
    assert ring.points(average) == []
    assert ring.latest(average) == []


@pytest.mark.parametrize("rows", [1, POINTS_MAX, POINTS_MAX + 1, 2 * POINTS_MAX + 5])
def test_a_ring_is_extended_wherever_it_stands(rows):
    """Again and again, with rows in between, and long after its oldest row was replaced."""
    schema, counters = EMPTY, []
    ring = NO_POINTS
    for number in range(rows):
        if number % 7 == 0:
            counters.append(Counter(group="g", name=f"c{number}"))
            schema = Schema(counters)
            ring = ring.with_schema(schema)
        ring.add(float(number), [10.0 * number] * len(counters))

    for since, slot in zip(range(0, rows, 7), schema.slots, strict=True):
        kept = range(max(since, rows - POINTS_MAX), rows)
        assert ring.points(slot) == [[float(number), 10.0 * number] for number in kept]
        assert ring.latest(slot) == [rows - 1.0, 10.0 * (rows - 1)]
    whole = range(max(7 * ((rows - 1) // 7), rows - 2), rows)
    assert [row[0] for row in ring.newest()] == [float(number) for number in reversed(whole)]


def test_a_ring_that_is_extended_in_every_report_stays_small():
    """What is remembered of short rows goes with them."""
    ring, counters = NO_POINTS, []
    for number in range(5 * POINTS_MAX):
        counters.append(Counter(group="g", name=f"c{number}"))
        ring = ring.with_schema(Schema(counters))
        ring.add(float(number), [1.0] * len(counters))

    assert len(ring._short) <= POINTS_MAX
    assert [len(ring.points(slot)) for slot in ring.schema.slots[-3:]] == [3, 2, 1]


def test_a_thread_reads_whole_rows_while_the_loop_writes(eager_threads):
    """Points of one report belong together, none is missing, and they stand in their order."""
    schema = Schema([Counter(group="g", name="both", kind=Kind.AVERAGE)])
    (slot,) = schema.slots
    ring = Ring(schema)
    over = threading.Event()

    def write():
        number = 0.0
        while not over.is_set():
            number += 1
            ring.add(number, [number, number])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            for _ in range(READS):
                read = [ring.points(slot), ring.newest()[::-1], [ring.latest(slot) or [0.0] * 3]]
                for points in read:
                    assert len({value for point in points for value in point}) == len(points)
                    numbers = [point[0] for point in points]
                    assert numbers == [numbers[0] + place for place in range(len(numbers))]
        finally:
            over.set()
        writing.result()


class ReadHalfway(Ring):
    """A ring that is read when a row is written and not yet counted: a thread took its turn."""

    def __init__(self, schema):
        self.read = []
        super().__init__(schema)

    @property
    def _written(self):
        return self._count

    @_written.setter
    def _written(self, count):
        if count:
            self.read.append(self.points(self.schema.slots[0]))
        self._count = count


def test_a_row_that_is_not_yet_counted_is_in_nobodys_way():
    """A thread that reads just then finds all rows from before."""
    ring = ReadHalfway(Schema([GAUGE]))
    for number in range(3 * POINTS_MAX):
        ring.add(float(number), [float(number)])

    for number, points in enumerate(ring.read):
        kept = range(max(number - POINTS_MAX, 0), number)
        assert points == [[float(each), float(each)] for each in kept]


def test_daemons_that_begin_with_nothing_do_not_share_what_comes_later():
    """They have one empty ring, until each declares something."""
    schema = Schema([GAUGE])
    one, other = NO_POINTS.with_schema(schema), NO_POINTS.with_schema(schema)
    one.add(1.0, [7.0])

    assert other.points(schema.slots[0]) == []
    assert one.points(schema.slots[0]) == [[1.0, 7.0]]


def test_equal_declarations_are_read_once_and_share_one_schema():
    """And it goes with the last daemon that has it."""
    schemas = Schemas()
    first = schemas.extend(EMPTY, b"same", [GAUGE])

    again = schemas.find(EMPTY, b"same")
    other = schemas.extend(EMPTY, b"other", [GAUGE])

    assert again is first
    assert schemas.extend(EMPTY, b"same", [GAUGE]) is first
    assert schemas.find(first, b"same") is None
    assert other is not first
    del first, again, other
    gc.collect()
    assert len(schemas) == 0


def test_labels_are_a_name_of_their_own():
    """Read by labels in any order; by path only what has none."""
    eu = Counter(group="g", name="ops", labels=(("pool", "a"), ("zone", "eu")))
    us = Counter(group="g", name="ops", labels=(("pool", "a"), ("zone", "us")))
    schema = Schema([eu, us, GAUGE])

    assert schema.slot("g.ops") is None
    assert schema.slot("g.gauge").counter is GAUGE
    assert schema.slot_with_labels("g", "ops", [("zone", "us"), ("pool", "a")]).counter is us
    assert schema.slot_with_labels("g", "ops", [("zone", "us")]) is None


def test_two_counters_that_cannot_be_distinguished_are_refused():
    """The second would hide the first."""
    with pytest.raises(ReportRefusedError, match=r"'g\.gauge' is declared twice"):
        Schema([GAUGE, AVERAGE, GAUGE])


@pytest.mark.parametrize(
    "values",
    [[1.0], [1.0, 2.0, 3.0, 4.0], [1.0, float("nan"), 3.0], [1.0, 2.0, float("inf")], []],
)
def test_a_row_that_does_not_fit_is_refused(values):
    """Too short, too long, or no number where there must be one."""
    with pytest.raises(ReportRefusedError) as refused:
        Schema([GAUGE, AVERAGE]).check(values)
    assert refused.value.rule == "values"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.5, 1e308])
def test_a_gauge_may_be_anything(value):
    """Also numbers whose sum overflows."""
    Schema([GAUGE, AVERAGE, GAUGE_TOO]).check([value, 1.0, 2.0, value])


GAUGE_TOO = Counter(group="g", name="gauge2")
