"""A silent worker is dumped, then killed; a guard that was slow itself does not judge."""

from __future__ import annotations

from mgr.guard.watchdog import Verdict, Watchdog

LIMIT_S = 2.0


def looks(watchdog, *moments_s):
    """What it says at each of these moments."""
    return [watchdog.check(moment_s) for moment_s in moments_s]


def every(step_s, begin_s, end_s):
    """Moments from ``begin_s`` to ``end_s``."""
    return [begin_s + n * step_s for n in range(round((end_s - begin_s) / step_s) + 1)]


def test_a_worker_that_beats_is_well():
    """A beat before every look."""
    watchdog = Watchdog(LIMIT_S, 0.0)

    for moment_s in every(0.3, 0.0, 30.0):
        watchdog.on_heartbeat(moment_s)
        assert watchdog.check(moment_s + 0.1) is Verdict.HEALTHY


def test_a_silent_worker_is_dumped_once_and_then_killed():
    """Half the limit for the dump, so that the stacks are written before the end."""
    verdicts = looks(Watchdog(LIMIT_S, 0.0), *every(0.25, 0.25, 2.25))

    assert verdicts == [*[Verdict.HEALTHY] * 4, Verdict.DUMP, *[Verdict.HEALTHY] * 3, Verdict.KILL]


def test_the_limit_itself_is_no_offence():
    """Exactly ``LIMIT_S`` of silence is allowed."""
    assert looks(Watchdog(LIMIT_S, 0.0), 0.9, 1.8, 2.0)[-1] is Verdict.HEALTHY


def test_a_sign_of_life_begins_anew():
    """After a dump as well, which may then come again."""
    watchdog = Watchdog(LIMIT_S, 0.0)
    looks(watchdog, 0.5, 1.2)

    watchdog.on_heartbeat(1.3)

    assert looks(watchdog, 1.8, 2.2, 2.5)[-1] is Verdict.DUMP


def test_a_guard_that_stood_still_does_not_blame_its_worker():
    """The whole machine was paused: the worker has had no chance to beat either."""
    watchdog = Watchdog(LIMIT_S, 0.0)
    watchdog.on_heartbeat(0.3)

    assert looks(watchdog, 0.4, 60.0, 60.3) == [Verdict.HEALTHY] * 3
    assert looks(watchdog, 60.9, 61.5, 62.1)[-1] is Verdict.KILL


def test_a_verdict_comes_when_it_is_due_and_not_at_the_next_round():
    """A frozen worker costs its limit, not its limit and a sixth."""
    watchdog = Watchdog(LIMIT_S, 0.0)
    now_s, verdict = 0.0, Verdict.HEALTHY

    while verdict is not Verdict.KILL:
        now_s += watchdog.pause_s(now_s)
        verdict = watchdog.check(now_s)

    assert LIMIT_S < now_s < LIMIT_S + 0.003
