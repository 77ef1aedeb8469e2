"""Counters in memory that the worker writes and a module's process reads."""

import gc

import pytest

from mgr.cluster.counter_memory import CounterMemory
from mgr.cluster.counters import ROWS, Counter, Kind, Ring, Schema, Unit
from mgr.host.counter_reader import CounterReader
from mgr.module_process import child_counters
from mgr.module_process.child_counters import SINGLE_MAX, SharedCounters, counter_fields
from mgr.module_process.messages import dumps, loads

COUNTERS = (
    Counter(group="g", name="gauge"),
    Counter(group="g", name="time", kind=Kind.AVERAGE, unit=Unit.SECONDS),
    Counter(group="g", name="labelled", labels=(("pool", "1"),)),
)


class Daemon:
    """A daemon in the worker."""

    def __init__(self, ring):
        self.ring = ring


class Worker:
    """Answers as the worker does, by way of what may be sent; counts what it is asked."""

    def __init__(self):
        self.daemons = {}
        self.memory = CounterMemory()
        self.asked = []

    def declare(self, name, ring):
        """Let a daemon have the counters of ``ring``."""
        self.daemons[name] = Daemon(ring)
        self.memory.on_declared()

    def call(self, what, name):
        self.asked.append((what, name))
        return loads(dumps(getattr(self, what)(name)))

    def counter_places(self, name):
        return [
            (
                each,
                tuple(place),
                self.daemons[each].ring.schema.digest,
                self.daemons[each].ring.short,
            )
            for each in ([name] if name else list(self.daemons))
            if each in self.daemons and (place := self.memory.share(self.daemons[each].ring))
        ]

    def counter_schema(self, name):
        schema = self.daemons[name].ring.schema
        return schema.digest, [counter_fields(slot.counter) for slot in schema.slots]


@pytest.fixture
def worker():
    """A worker with one daemon that has reported once."""
    made = Worker()
    made.declare("osd.1", Ring(Schema(COUNTERS, b"one")))
    made.daemons["osd.1"].ring.add(100.0, [1.0, 3.0, 0.5, 7.0])
    return made


@pytest.fixture
def both(worker):
    """What reads in the worker, and what reads in the process."""
    return (
        CounterReader(worker.daemons),
        CounterReader(SharedCounters(worker.call, worker.memory.path)),
    )


def read(reader):
    """Everything that can be read of the daemon."""
    labels = [("pool", "1")]
    return (
        reader.get_counter("osd", "1", "g.gauge"),
        reader.get_counter("osd", "1", "g.time"),
        reader.get_latest_counter("osd", "1", "g.time"),
        reader.get_latest_labelled_counter("osd", "1", "g", "labelled", labels),
        reader.get_latest_counter("osd", "1", "g.none"),
        reader.get_latest_counter("osd", "2", "g.gauge"),
    )


def test_a_process_reads_what_the_worker_reads(worker, both):
    """Before the ring is full, while it turns, and without asking again."""
    here, there = both
    assert read(there) == read(here)
    asked = [each for each in worker.asked if each[1] == "osd.1"]

    for number in range(3 * ROWS):
        worker.daemons["osd.1"].ring.add(101.0 + number, [2.0, 3.0, number, number])
        assert read(there) == read(here)

    assert len(read(there)[0]) == ROWS - 1
    assert [each for each in worker.asked if each[1] == "osd.1"] == asked


def test_a_daemon_with_further_counters_is_asked_for_again(worker, both):
    """Rows of before lack the new columns."""
    here, there = both
    read(there)
    more = Schema([*COUNTERS, Counter(group="g", name="later")], b"two")
    worker.declare("osd.1", worker.daemons["osd.1"].ring.with_schema(more))
    worker.daemons["osd.1"].ring.add(101.0, [1.0, 3.0, 0.5, 7.0, 9.0])

    assert there.get_counter("osd", "1", "g.later") == [[101.0, 9.0]]
    assert read(there) == read(here)
    assert len(read(there)[0]) == 2


def test_memory_of_a_daemon_that_left_is_another_ones_and_never_mistaken(worker, both):
    """The owner's number in it is a new one."""
    here, there = both
    read(there)
    place = worker.daemons["osd.1"].ring.place
    del worker.daemons["osd.1"]
    gc.collect()
    assert there.get_counter("osd", "1", "g.gauge") == []

    ring = Ring(Schema(COUNTERS, b"one"))
    ring.add(200.0, [5.0, 1.0, 1.0, 1.0])
    worker.declare("osd.3", ring)

    assert there.get_latest_counter("osd", "3", "g.gauge") == [200.0, 5.0]
    assert worker.daemons["osd.3"].ring.place[1:] == place[1:]
    assert there.get_latest_counter("osd", "1", "g.gauge") == []
    assert here.get_latest_counter("osd", "3", "g.gauge") == [200.0, 5.0]


def test_a_module_that_reads_a_whole_fleet_asks_once_for_all(worker, both):
    """A few are asked for one by one before that."""
    for number in range(200):
        ring = Ring(worker.daemons["osd.1"].ring.schema)
        ring.add(1.0, [float(number), 0.0, 0.0, 0.0])
        worker.declare(f"mds.{number}", ring)

    values = [both[1].get_latest_counter("mds", str(n), "g.gauge")[1] for n in range(200)]

    assert values == [float(number) for number in range(200)]
    places = [name for what, name in worker.asked if what == "counter_places"]
    assert len(places) == SINGLE_MAX
    assert places[-1] == ""


def test_a_module_that_polls_an_absent_daemon_asks_once(worker, both):
    """And once more whenever a daemon has declared counters: it may be this one."""
    for number in range(3):
        assert both[1].get_latest_counter("osd", "2", "g.gauge") == []
        assert both[1].get_counter("mds", "a", "g.gauge") == []
        assert len(worker.asked) == 2, number

    ring = Ring(Schema(COUNTERS, b"one"))
    ring.add(1.0, [2.0, 0.0, 0.0, 0.0])
    worker.declare("osd.2", ring)

    assert both[1].get_latest_counter("osd", "2", "g.gauge") == [1.0, 2.0]


def test_what_is_declared_while_the_worker_answers_is_not_missed(worker):
    """The answer was made before it."""

    def call(what, name):
        answer = worker.call(what, name)
        if len(worker.asked) == 1:
            worker.declare("osd.2", Ring(Schema(COUNTERS, b"one")))
        return answer

    counters = SharedCounters(call, worker.memory.path)

    assert counters.get("osd.2") is None
    assert counters.get("osd.2") is not None


def test_absent_names_are_not_remembered_without_limit(worker, monkeypatch):
    """A module may make names up."""
    monkeypatch.setattr(child_counters, "ABSENT_MAX", 10)
    counters = SharedCounters(worker.call, worker.memory.path)

    for number in range(100):
        assert counters.get(f"osd.x{number}") is None

    assert len(counters._absent) <= 10


def test_the_memory_cannot_be_written_by_a_reader(worker, both):
    """A module that is damaged damages its own memory only."""
    read(both[1])
    with pytest.raises((TypeError, ValueError)):
        both[1]._daemons.get("osd.1").ring._values[0] = 1.0


def test_a_ring_without_counters_has_no_place(worker):
    """There is nothing to read."""
    assert worker.memory.share(Ring()) is None
