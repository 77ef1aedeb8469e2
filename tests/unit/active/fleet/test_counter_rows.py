"""All counters of a fleet at once."""

from mgr.active.fleet.counter_rows import CounterRowReader
from mgr.cluster.counters import Counter, Kind, Unit
from mgr.cluster.daemon import OpenRequest
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from tests.support.clock import ManualClock
from tests.support.fleet_declare import declare
from tests.unit.active.documents.test_fleet_documents import FakeStream

REQUESTS = Counter(group="rgw", name="requests", kind=Kind.COUNTER, description="Served")
LATENCY = Counter(group="rgw", name="latency", kind=Kind.AVERAGE, unit=Unit.SECONDS, priority=8)
SIZES = Counter(
    group="rgw", name="sizes", kind=Kind.HISTOGRAM, bounds=(1.0, 2.0), labels=(("op", "put"),)
)
DEBUG = Counter(group="rgw", name="debug", priority=0)


class Reporting:
    """A fleet whose daemons count."""

    def __init__(self):
        self.clock = ManualClock()
        self.fleet = Fleet(
            self.clock, ClusterLog(), term=7, name="mgr.a", on_refusal=lambda _: None
        )
        self.rows = CounterRowReader(self.fleet)

    def join(self, kind, name, *counters, values=()):
        line = FakeStream()
        daemon = self.fleet.open(OpenRequest(kind=kind, id=name, host="h", incarnation="1"), line)
        named = "".join(each.path for each in counters).encode()
        declare(self.fleet, daemon, line, named, counters)
        if values:
            self.fleet.report(daemon, line, values)
        return daemon, line


def test_daemons_that_count_the_same_share_one_description():
    """Ten thousand daemons cost one list of counters and ten thousand pointers."""
    made = Reporting()
    made.join("rgw", "a", REQUESTS, LATENCY, values=[5.0, 0.5, 2.0])
    made.join("rgw", "b", REQUESTS, LATENCY, values=[6.0, 0.6, 3.0])
    made.join("rgw", "late", REQUESTS, LATENCY)

    [entry] = made.rows.get_counter_rows("", 0)

    requests, latency = entry["counters"]
    assert (requests["path"], requests["kind"], requests["description"]) == (
        "rgw.requests",
        "counter",
        "Served",
    )
    assert (latency["kind"], latency["unit"], latency["priority"]) == ("average", "seconds", 8)
    assert {
        name: list(row[latency["start"] : latency["stop"]]) for name, row in entry["rows"].items()
    } == {"rgw.a": [0.5, 2.0], "rgw.b": [0.6, 3.0]}
    assert made.rows.get_counter_rows("", 0)[0]["counters"] is entry["counters"]


def test_only_the_type_and_the_priority_that_were_asked_for():
    """The place of a counter in its row does not depend on what is left out."""
    made = Reporting()
    made.join("rgw", "a", DEBUG, SIZES, values=[9.0, 1.0, 2.0, 3.0, 40.0])
    made.join("host", "h", DEBUG, values=[1.0])

    [entry] = made.rows.get_counter_rows("rgw", 5)

    [sizes] = entry["counters"]
    assert (sizes["labels"], sizes["bounds"]) == ({"op": "put"}, [1.0, 2.0])
    assert list(entry["rows"]["rgw.a"][sizes["start"] : sizes["stop"]]) == [1.0, 2.0, 3.0, 40.0]
    assert len(made.rows.get_counter_rows("", 5)) == 1
    assert len(made.rows.get_counter_rows("", 0)) == 2


def test_a_row_from_before_more_was_declared_is_left_out_until_the_next():
    """What is not there yet cannot be read past its end."""
    made = Reporting()
    daemon, line = made.join("rgw", "a", REQUESTS, values=[5.0])
    declare(made.fleet, daemon, line, b"more", [LATENCY], replace=False)

    before = made.rows.get_counter_rows("", 0)
    made.fleet.report(daemon, line, [6.0, 0.5, 2.0])
    after = made.rows.get_counter_rows("", 0)

    assert before == []
    assert list(after[0]["rows"]["rgw.a"])[1:] == [6.0, 0.5, 2.0]


def test_the_report_before_is_there_for_rates():
    """Of daemons that made two; the moment stands first in each row."""
    made = Reporting()
    daemon, line = made.join("rgw", "a", REQUESTS, values=[5.0])
    made.join("rgw", "b", REQUESTS, values=[7.0])
    made.fleet.report(daemon, line, [6.0])

    [entry] = made.rows.get_counter_rows("", 0)

    assert [row[1] for row in entry["rows"].values()] == [6.0, 7.0]
    assert {name: row[1] for name, row in entry["before"].items()} == {"rgw.a": 5.0}
    assert entry["before"]["rgw.a"][0] <= entry["rows"]["rgw.a"][0]


def test_what_a_silent_daemon_counted_is_no_longer_shown():
    """It is not how things stand; what it counts is there again with its next report."""
    made = Reporting()
    daemon, line = made.join("rgw", "a", REQUESTS, values=[5.0])
    made.clock.advance(60)
    made.join("rgw", "b", REQUESTS, values=[7.0])
    made.fleet.update_states()

    [entry] = made.rows.get_counter_rows("", 0)
    assert list(entry["rows"]) == ["rgw.b"]
    made.fleet.report(daemon, line, [6.0])

    [entry] = made.rows.get_counter_rows("", 0)
    assert list(entry["rows"]) == ["rgw.a", "rgw.b"]
