"""How many connections the HTTP port keeps, and for how long."""

from __future__ import annotations

import pytest

from mgr.client_limits import ClientLimits
from mgr.host.connections import ANSWER_S, HEAD_S, IDLE_S, ConnectionTable


class Transport:
    """What a connection is closed with."""

    def __init__(self):
        self.aborted = False

    def abort(self):
        self.aborted = True


class Bench:
    """A table with a clock that a test moves."""

    def __init__(self, connections_max=100, address_max=100):
        self.now_s = 100.0
        self.limits = ClientLimits(lambda: self.now_s)
        self.table = ConnectionTable(
            lambda: self.now_s,
            self.limits,
            connections_max=connections_max,
            address_max=address_max,
        )

    def connect(self, address="10.0.0.1"):
        connection = self.table.add(address)
        connection.transport = Transport()
        return connection

    def after(self, seconds):
        self.now_s += seconds
        self.table.sweep()


def is_open(*connections):
    return [not each.transport.aborted for each in connections]


def test_the_oldest_connection_without_a_request_makes_room_for_a_new_one():
    """A probe is always let in, beside any number of idle connections."""
    bench = Bench(connections_max=3)
    first, second, third = (bench.connect() for _ in range(3))
    bench.table.begin_answer(first)

    newest = bench.connect()

    assert is_open(first, second, third, newest) == [True, False, True, True]
    assert len(bench.table) == 3
    assert bench.limits.recent()["http_connections"].count == 1


def test_room_is_made_by_the_address_that_has_most_connections():
    """One client among many does not lose its connection because of another one."""
    bench = Bench(connections_max=4)
    alone = bench.connect("10.0.0.2")
    many = [bench.connect("10.0.0.1") for _ in range(3)]

    bench.connect("10.0.0.3")

    assert is_open(alone, *many) == [True, False, True, True]


def test_one_address_has_a_share_only():
    """Its own oldest connection makes room."""
    bench = Bench(connections_max=10, address_max=2)
    other = bench.connect("10.0.0.2")
    first, second = bench.connect(), bench.connect()

    third = bench.connect()

    assert is_open(other, first, second, third) == [True, False, True, True]
    assert "http_address_connections" in bench.limits.recent()


def test_a_connection_that_is_served_is_not_closed_for_others():
    """If all are, the new one is refused."""
    bench = Bench(connections_max=1)
    served = bench.connect()
    bench.table.begin_answer(served)

    assert bench.table.add("10.0.0.2") is None
    assert is_open(served) == [True]


@pytest.mark.parametrize("trickles", [False, True])
def test_a_head_has_a_time_limit(trickles):
    """Whether nothing comes, or a byte now and then."""
    bench = Bench()
    slow = bench.connect()
    for _ in range(4):
        bench.after(HEAD_S / 4 - 0.01)
        if trickles:
            bench.table.begin_head(slow)
    assert is_open(slow) == [True]

    bench.after(0.05)

    assert is_open(slow) == [False]
    assert len(bench.table) == 0


def test_an_idle_connection_is_kept_longer_until_the_next_head_begins():
    """The first bytes of that begin its own, shorter time."""
    bench = Bench()
    idle, begun = bench.connect(), bench.connect()
    for each in (idle, begun):
        bench.table.begin_answer(each)
        bench.table.end_answer(each)
    bench.table.begin_head(begun)

    bench.after(HEAD_S + 0.1)
    assert is_open(idle, begun) == [True, False]
    bench.after(IDLE_S)
    assert is_open(idle) == [False]


def test_an_answer_that_is_not_read_ends_its_connection():
    """A client that reads nothing would otherwise keep it for ever."""
    bench = Bench()
    stuck = bench.connect()
    bench.table.begin_answer(stuck)
    bench.after(ANSWER_S - 0.1)
    assert is_open(stuck) == [True]

    bench.after(0.2)

    assert is_open(stuck) == [False]
    assert "http_answer_time" in bench.limits.recent()


def test_a_connection_is_removed_once():
    """Whoever notices its end first."""
    bench = Bench(connections_max=2)
    first = bench.connect()
    bench.table.remove(first)
    bench.table.remove(first)
    bench.connect()

    assert len(bench.table) == 1


def test_without_descriptors_the_oldest_connection_is_closed():
    """And nothing happens if there is none."""
    bench = Bench()
    bench.table.close_oldest()
    first, second = bench.connect(), bench.connect()

    bench.table.close_oldest()

    assert is_open(first, second) == [False, True]
