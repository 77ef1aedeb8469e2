"""The life of a module, walked as a table."""

from mgr.host.lifecycle import (
    ENDED,
    LOADING,
    READY,
    TRANSITIONS,
    Action,
    Event,
    Phase,
    step,
)


def test_a_module_can_be_stopped_at_any_time():
    """Disabling a module never waits for it to become well first."""
    for phase in Phase:
        assert step(phase, Event.STOP).phase in {Phase.STOPPING, *ENDED}


def test_every_failure_is_reported_and_tried_again():
    """Whatever broke it, health names it and it comes back by itself."""
    ways = [s for s in TRANSITIONS.values() if s.phase is Phase.FAILED]
    assert {s.actions for s in ways} == {(Action.REPORT, Action.PAUSE)}
    assert len(ways) == 7


def test_a_restarted_module_is_cleared_only_after_its_probation():
    """A module that dies every second stays in health all the time."""
    assert Action.CLEAR not in step(Phase.RESTARTING, Event.CONSTRUCTED).actions
    assert Action.CLEAR in step(Phase.PROBATION, Event.PROBATION_OVER).actions


def test_nothing_is_constructed_beside_an_instance_that_did_not_stop():
    """The only way on is its end, or the module's."""
    held = step(Phase.RESTARTING, Event.STOP_LIMIT_PASSED)
    assert held.phase is Phase.WAITING
    assert Action.CONSTRUCT not in held.actions
    ways = {event: s.phase for (phase, event), s in TRANSITIONS.items() if phase is Phase.WAITING}
    assert ways == {Event.EARLIER_ENDED: Phase.RESTARTING, Event.STOP: Phase.STOPPING}


def test_every_end_cuts_the_module_off():
    """Threads that were left behind reach nothing: no write, no command, no notification."""
    for s in TRANSITIONS.values():
        if s.phase in ENDED:
            assert s.actions == (Action.DISCONNECT,)


def test_commands_are_run_held_or_refused_in_every_phase():
    """The three sets share no phase, and what is left is refused."""
    refused = set(Phase) - READY - LOADING
    assert not READY & LOADING
    assert refused == {Phase.FAILED, Phase.WAITING, Phase.STOPPING, *ENDED}
