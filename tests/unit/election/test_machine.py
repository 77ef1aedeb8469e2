"""The table, walked as a table."""

from __future__ import annotations

import pytest

from mgr.election.machine import (
    LEADING,
    TRANSITIONS,
    WAITING,
    Action,
    Event,
    Phase,
    step,
)


def test_the_key_is_given_back_only_after_the_death_or_the_drain_of_the_worker():
    """Kill before release: the term record must not lie."""
    for (_, event), answer in TRANSITIONS.items():
        if answer.action is Action.RELEASE:
            assert event in {Event.WORKER_EXITED, Event.DRAINED}


def test_no_leader_stands_by_again_with_its_worker():
    """From leading back to waiting there is no way but over the worker's end."""
    for (phase, event), answer in TRANSITIONS.items():
        if phase not in WAITING and answer.phase in WAITING:
            assert (phase, event) in {
                (Phase.EXITING_AFTER_HANDOVER, Event.WORKER_EXITED),
                # Reached by way of WORKER_EXITED only, see the next test.
                (Phase.RELEASING, Event.RELEASED),
            }


def test_a_dead_worker_is_the_only_way_into_releasing():
    """So whoever is released from there has no worker that led."""
    ways = {event for (_, event), answer in TRANSITIONS.items() if answer.phase is Phase.RELEASING}
    assert ways == {Event.WORKER_EXITED}


@pytest.mark.parametrize("phase", sorted(LEADING - {Phase.HANDING_OVER}, key=lambda p: p.name))
def test_a_definite_loss_ends_the_worker(phase):
    """Whatever its modules do, a successor may be doing it already."""
    assert step(phase, Event.LOST) == (Phase.KILLING_WORKER, Action.SHUT_DOWN)


@pytest.mark.parametrize("phase", [Phase.SUSPENDED_STARTING, Phase.SUSPENDED])
def test_a_suspended_active_resumes_only_on_a_proof(phase):
    """Nothing else leads back to acting."""
    back = {
        event
        for (before, event), answer in TRANSITIONS.items()
        if before is phase and answer.phase in {Phase.STARTING, Phase.ACTIVE, Phase.DRAINING}
    }
    assert back == {Event.TERM_CONFIRMED}


def test_a_drain_that_outlives_its_proof_is_cut_short():
    """What still runs would act without a proof."""
    assert step(Phase.DRAINING, Event.DEADLINE) == (Phase.KILLING_WORKER, Action.KILL)


@pytest.mark.parametrize("phase", list(Phase))
def test_stopping_is_answered_in_every_phase(phase):
    """An operator's signal never meets a phase that does not know it."""
    step(phase, Event.STOP)
    step(phase, Event.STOP_NOW)


@pytest.mark.parametrize("wish", [Event.STOP, Event.STOP_NOW])
@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_leads_to_stopped(phase, wish):
    """Told again in each phase, the wish is fulfilled, with a store that answers or without."""
    for after_release in (Event.RELEASED, Event.RELEASE_GIVEN_UP):
        at = phase
        for _ in range(12):
            for event in (wish, Event.DRAINED, Event.WORKER_EXITED, after_release):
                if (at, event) in TRANSITIONS:
                    at = step(at, event).phase
        assert at is Phase.STOPPED
