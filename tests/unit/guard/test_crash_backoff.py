"""Three crashes in a minute are free; then each pause is longer than the one before."""

from __future__ import annotations

from mgr.guard.crash_backoff import PAUSE_MAX_S, CrashLoopBackoff


def pauses(*lives_s):
    """The pause after each of these lives."""
    backoff = CrashLoopBackoff()
    found = []
    for life_s in lives_s:
        backoff.record_crash(life_s)
        found.append(backoff.pause_s())
    return found


def test_two_crashes_cost_nothing():
    """The next worker starts at once."""
    assert pauses(1.0, 1.0) == [0.0, 0.0]


def test_from_the_third_within_a_minute_the_pauses_grow():
    """Up to a ceiling."""
    assert pauses(*[1.0] * 6) == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0]
    assert pauses(*[1.0] * 20)[-1] == PAUSE_MAX_S


def test_crashes_far_apart_cost_nothing():
    """A worker may die now and then."""
    assert set(pauses(*[40.0] * 10)) == {0.0}


def test_the_pauses_do_not_win_the_budget_back():
    """What counts is the time that workers ran: a crash every twenty seconds goes on costing."""
    assert pauses(*[20.0] * 6)[2:] == [1.0, 2.0, 4.0, 8.0]


def test_a_worker_that_ran_long_is_forgiven():
    """And so is everything before it."""
    assert pauses(1.0, 1.0, 1.0, 1.0, 120.0, 1.0) == [0.0, 0.0, 1.0, 2.0, 0.0, 0.0]
