"""The history of leadership, as real guards write it while workers die and hand over."""

from __future__ import annotations

from mgr.election.history import terms
from tests.support.network_faults import KEYS
from tests.support.simulation import Simulation


def history_of(world):
    """Every term, the oldest first."""
    listing = world.loop.run_until_complete(world.store.list(KEYS.leadership))
    return terms({record.key: record for record in listing.records})[::-1]


def test_each_term_has_its_holder_its_end_and_the_time_without_a_leader():
    """A worker dies, then an operator hands over: the third term tells of both."""
    with Simulation("a", "b") as world:
        first = world.settle()
        world.run(3)
        first.worker.die("SIGKILL")
        world.run(1)
        second = world.settle()
        world.run(3)
        world.resign(second.name)
        world.run(5)

        died, handed_over, present = history_of(world)

    assert (died.name, died.reason, died.cause) == (first.name, "reaped", "SIGKILL")
    assert (handed_over.name, handed_over.reason) == (second.name, "resigned")
    assert handed_over.ended_by == second.name
    assert (present.reason, present.until) == ("leading", "")
    assert died.term < handed_over.term < present.term
    assert 0 <= handed_over.unled_s < 1
    assert 0 <= present.unled_s < 1


def test_the_silence_of_a_deposed_leader_counts_as_time_without_one():
    """Its key existed, but nobody answered."""
    with Simulation("a", "b") as world:
        before = world.settle()
        world.run(3)
        world.freeze(before.name, 20)
        world.run(5)

        deposed, present = history_of(world)

    assert (deposed.name, deposed.reason) == (before.name, "deposed")
    assert deposed.ended_by == present.name
    assert present.unled_s > 1


def test_a_term_that_nobody_closed_is_shown_as_expired():
    """The leader key vanished with its lease; the successor saw when."""
    with Simulation("a", "b", profile="off") as world:
        before = world.settle()
        world.run(3)
        world.freeze(before.name, 30)
        world.run(12)

        expired, present = history_of(world)

    assert (expired.name, expired.reason) == (before.name, "expired")
    assert present.name != before.name
    assert expired.until
