"""Is it the worker that does not reach the store, or the store that answers nobody?"""

from __future__ import annotations

from mgr.guard.worker_health import (
    CONFIRMED_AFTER_S,
    GAP_S,
    RESTART_AFTER_S,
    UNABLE_AFTER_S,
    StoreContact,
    WorkerHealth,
)
from mgr.link import WorkerHeartbeat

LONG_S = 1000.0


def health(*, write_s=None, mirror_s=None):
    """What two heartbeats say, a second apart."""
    made = WorkerHealth()
    for sent_s in (0.0, CONFIRMED_AFTER_S):
        made.on_heartbeat(
            WorkerHeartbeat(sent_s=sent_s, write_age_s=write_s, mirror_age_s=mirror_s)
        )
    return made


def test_a_worker_of_which_nothing_is_known_is_well():
    """Its start has a limit of its own."""
    assert WorkerHealth().current
    assert not WorkerHealth().unable(LONG_S)


def test_the_limit_itself_is_no_offence():
    """Five seconds are allowed, for either of the two."""
    assert not health(write_s=UNABLE_AFTER_S, mirror_s=UNABLE_AFTER_S).unable(LONG_S)


def test_an_old_write_or_an_old_copy_is_the_workers_fault_while_its_guard_is_answered():
    """Each alone is enough."""
    for late in (health(write_s=5.1, mirror_s=0.0), health(write_s=0.0, mirror_s=5.1)):
        assert late.unable(LONG_S)
        assert not late.current


def test_a_store_that_is_silent_for_everybody_is_nobodys_fault():
    """The guard must have been answered for as long as the worker was not."""
    late = health(write_s=LONG_S)

    assert not late.unable(0.0)
    assert not late.unable(UNABLE_AFTER_S)
    assert late.unable(UNABLE_AFTER_S + 0.1)


def test_a_standbys_worker_is_given_longer():
    """Nobody waits for it."""
    late = health(mirror_s=RESTART_AFTER_S + 1)

    assert not late.needs_restart(UNABLE_AFTER_S + 1)
    assert late.needs_restart(RESTART_AFTER_S + 1)


def test_one_heartbeat_after_a_stall_is_not_enough():
    """It tells of the stall; the next one tells whether that is over."""
    made = WorkerHealth()
    made.on_heartbeat(WorkerHeartbeat(sent_s=0.0, write_age_s=9.0))
    assert not made.unable(LONG_S)
    made.on_heartbeat(WorkerHeartbeat(sent_s=0.9, write_age_s=9.9))
    assert not made.unable(LONG_S)
    made.on_heartbeat(WorkerHeartbeat(sent_s=1.0, write_age_s=0.1))
    made.on_heartbeat(WorkerHeartbeat(sent_s=2.1, write_age_s=9.0))
    assert not made.unable(LONG_S)
    made.on_heartbeat(WorkerHeartbeat(sent_s=3.1, write_age_s=10.0))
    assert made.unable(LONG_S)


def test_contact_counts_from_the_first_answer_after_a_gap():
    """A request that fails between two answers is no gap."""
    contact = StoreContact()
    assert contact.answered_for_s(0.0) == 0.0
    for now_s in range(10):
        contact.on_answer(float(now_s))
    assert contact.answered_for_s(9.0) == 9.0

    contact.on_answer(9.0 + GAP_S)
    assert contact.answered_for_s(9.0 + GAP_S) == 9.0 + GAP_S
    contact.on_answer(20.0)
    assert contact.answered_for_s(21.0) == 1.0


def test_a_guard_that_stood_still_blames_nobody():
    """The whole machine may have been paused, and the worker with it."""
    contact = StoreContact()
    contact.on_answer(0.0)
    contact.on_answer(1.0)

    assert contact.answered_for_s(1.0 + GAP_S + 0.1) == 0.0
    contact.on_answer(60.0)
    assert contact.answered_for_s(60.0) == 0.0
