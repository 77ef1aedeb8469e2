"""The cause that a guard tells: the most telling one of the last seconds, until an answer."""

from __future__ import annotations

from mgr.errors import LeaseExpiredError, StoreFullError, StoreUnavailableError
from mgr.guard.store_trouble import WINDOW_S, StoreTrouble, Work
from mgr.store.cause import Cause
from tests.support.clock import ManualClock

NO_LEADER = StoreUnavailableError("put: etcd does not answer: etcdserver: no leader")
UNREACHABLE = StoreUnavailableError("put: etcd does not answer: cannot connect to h:1")
FULL = StoreFullError("put: database space exceeded")


def trouble():
    clock, changes = ManualClock(), []
    found = StoreTrouble(clock)
    found.on_changed = lambda: changes.append(found.cause)
    return found, clock, changes


def test_of_three_members_the_one_that_says_no_leader_is_believed():
    """The two others, which are dead, only say that they cannot be reached."""
    found, _, changes = trouble()
    for error in (UNREACHABLE, NO_LEADER, UNREACHABLE):
        found.failed(Work.WRITE, error)

    assert changes == [Cause.CUT_OFF, Cause.NO_QUORUM]


def test_an_old_cause_gives_way():
    """The quorum was lost, and now the network is."""
    found, clock, _ = trouble()
    found.failed(Work.WRITE, NO_LEADER)
    clock.advance(WINDOW_S + 1)
    found.failed(Work.WRITE, UNREACHABLE)

    assert found.cause is Cause.CUT_OFF


def test_renewals_that_succeed_do_not_hide_an_etcd_without_space():
    """Such an etcd renews leases and answers reads."""
    found, _, changes = trouble()
    found.failed(Work.WRITE, FULL)
    found.answered(Work.RENEW)
    assert found.cause is Cause.NO_SPACE

    found.answered(Work.WRITE)

    assert changes == [Cause.NO_SPACE, None]


def test_a_lost_lease_is_no_trouble_of_etcds():
    """It was lost because this guard was frozen."""
    found, _, changes = trouble()
    found.failed(Work.RENEW, LeaseExpiredError("gone"))

    assert (found.cause, changes) == (None, [])
