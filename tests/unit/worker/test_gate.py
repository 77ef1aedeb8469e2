"""The gate: two numbers compared, on a clock moved by hand."""

import asyncio

import pytest

from mgr.errors import NotActiveError, TermLostError
from mgr.host.cluster_view import LeaderView
from mgr.worker.gate import Gate
from tests.support.clock import ManualClock

OTHER = LeaderView(
    name="b",
    incarnation="i",
    grpc_address="10.0.0.2:7400",
    http_address="10.0.0.2:7480",
    version="1",
    term=8,
    since="",
)


@pytest.fixture
def clock():
    return ManualClock(100.0)


@pytest.fixture
def leaders():
    """Who leads as the gate is told; the last one counts."""
    return [None]


@pytest.fixture
def gate(clock, leaders):
    return Gate(clock, lambda: leaders[-1])


def test_a_gate_begins_shut(gate):
    """A worker that was never told to lead answers nothing."""
    assert not gate.accepts()
    assert not gate.term_valid()
    assert gate.term == 0


def test_a_gate_shuts_by_the_clock_at_its_deadline(gate, clock):
    """A process that slept past its deadline finds it shut, though nobody told it anything."""
    gate.extend(5, 104.0)
    assert gate.accepts()

    clock.advance(3.999)
    assert gate.accepts()

    clock.advance(0.001)
    assert not gate.accepts()
    assert not gate.term_valid()


def test_the_same_term_proven_again_opens_it_again(gate, clock):
    """Past its deadline the term is unconfirmed, not lost: an election of etcd is a pause."""
    gate.extend(5, 101.0)
    clock.advance(10)
    assert not gate.accepts()

    gate.extend(5, 114.0)

    assert gate.accepts()
    assert gate.term == 5


def test_a_proof_that_comes_late_takes_nothing_back(gate):
    """Two proofs may overtake each other: the later deadline stands."""
    gate.extend(5, 110.0)
    gate.extend(5, 105.0)

    assert gate.deadline_s == 110.0


def test_a_proof_of_an_older_term_changes_nothing(gate):
    """What is over stays over."""
    gate.extend(5, 101.0)
    gate.extend(4, 200.0)

    assert (gate.term, gate.deadline_s) == (5, 101.0)


def test_draining_lets_no_new_command_in_and_old_ones_finish(gate):
    """What runs is answered while the term is proven."""
    gate.extend(5, 110.0)
    gate.drain()

    assert not gate.accepts()
    assert gate.term_valid()


def test_an_ended_gate_never_opens_again(gate):
    """A worker that gave up its term does not resume it, whatever it receives."""
    gate.extend(5, 110.0)
    gate.end("over")
    gate.extend(6, 200.0)

    assert not gate.term_valid()
    assert gate.term == 5


async def test_a_held_command_goes_on_as_soon_as_the_term_is_proven(gate):
    """Suspension is a pause for callers."""
    async with asyncio.TaskGroup() as callers:
        held = callers.create_task(gate.wait_accepting(until_s=105.0))
        await asyncio.sleep(0)
        assert not held.done()
        gate.extend(5, 110.0)


async def test_a_held_command_is_refused_when_its_time_is_over(gate):
    """No caller waits for ever."""
    with pytest.raises(NotActiveError, match="nobody leads yet"):
        await gate.wait_accepting(until_s=100.0)


async def test_a_queued_command_is_sent_to_the_successor_when_leadership_is_gone(gate, leaders):
    """A hand-over is answered with the new address."""
    gate.extend(5, 110.0)
    gate.drain()
    refused = []

    async def caller():
        try:
            await gate.wait_accepting(until_s=110.0)
        except NotActiveError as error:
            refused.append(error)

    async with asyncio.TaskGroup() as callers:
        callers.create_task(caller())
        await asyncio.sleep(0)
        leaders.append(OTHER)
        gate.end("given back")

    [error] = refused
    assert (error.active_address, error.active_name, error.term) == ("10.0.0.2:7400", "b", 8)


def test_a_refusal_never_names_the_term_that_is_over(gate, leaders):
    """A view that still shows this manager's own term would send callers back to it."""
    gate.extend(8, 110.0)
    leaders.append(OTHER)

    assert gate.refusal().active_address is None


async def test_what_ran_is_not_answered_once_the_term_is_over(gate):
    """Its caller learns that it may have run in part."""
    gate.extend(5, 110.0)
    gate.end("a newer leader exists")

    with pytest.raises(TermLostError, match="a newer leader exists"):
        await gate.wait_term_valid(until_s=110.0)


async def test_what_ran_waits_for_the_next_proof(gate, clock):
    """An answer that was ready a moment past the deadline is given when the term is proven."""
    gate.extend(5, 101.0)
    clock.advance(2)
    async with asyncio.TaskGroup() as callers:
        held = callers.create_task(gate.wait_term_valid(until_s=110.0))
        await asyncio.sleep(0)
        assert not held.done()
        gate.extend(5, 106.0)


async def test_what_ran_is_given_up_when_no_proof_comes(gate, clock):
    """The caller's time is limited, and so is the truth of the answer."""
    gate.extend(5, 101.0)
    clock.advance(2)

    with pytest.raises(TermLostError, match="could not be confirmed again"):
        await gate.wait_term_valid(until_s=102.0)


def test_a_released_gate_is_shut_before_its_deadline_and_stays_so(gate):
    """From the deletion of the key on a successor may answer, whatever was proven before."""
    gate.extend(5, 110.0)
    gate.release()
    gate.extend(5, 120.0)

    assert not gate.term_valid()
    assert not gate.accepts()
    assert gate.deadline_s == 100.0
    assert not gate.ended


async def test_whoever_is_held_by_a_released_gate_waits_for_the_successor(gate, leaders):
    """The address is worth the milliseconds until there is one."""
    gate.extend(5, 110.0)
    gate.release()
    refused = []

    async def caller():
        try:
            await gate.wait_answerable(until_s=110.0)
        except NotActiveError as error:
            refused.append(error.active_address)

    async with asyncio.TaskGroup() as callers:
        callers.create_task(caller())
        await asyncio.sleep(0)
        assert refused == []
        leaders.append(OTHER)
        gate.end("given back")

    assert refused == ["10.0.0.2:7400"]


def test_a_shut_gate_claims_its_own_term_no_more(gate, clock):
    """And says nothing of anybody else's."""
    gate.extend(5, 101.0)
    assert gate.claims(5)

    clock.advance(2)

    assert not gate.claims(5)
    assert gate.claims(4)
    assert gate.claims(6)


def test_a_manager_that_never_led_claims_what_it_sees(gate):
    """It may have been elected and not been told yet."""
    assert gate.claims(5)


def test_listeners_hear_of_each_change(gate):
    """Also of a proof: streams look at the deadline again."""
    heard = []
    gate.subscribe(lambda: heard.append(gate.term_valid()))

    gate.extend(5, 110.0)
    gate.drain()
    gate.release()
    gate.end("over")

    assert heard == [True, True, False, False]
