"""What operators are told on virtual time: at a start that fails, and why the active changed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mgr.election.machine import Phase
from mgr.errors import CannotListenError, StoreFullError, StoreUnavailableError
from mgr.link import Resign
from tests.support.network_faults import KEYS, NetworkFault
from tests.support.simulation import Simulation

STUBBORN_END = (
    "handed over leadership: mgr fail; a module did not stop in time, so the worker was killed"
)


def _fail_stubbornly(manager):
    """An operator asks for a hand-over, and a module does not stop."""
    manager.worker.stubborn = True
    manager.worker.send_to_guard(Resign(reason="mgr fail"))


@pytest.mark.parametrize(
    ("end", "ended", "planned"),
    [
        (
            lambda before: before.worker.die("SIGKILL"),
            "lost its worker, which died (SIGKILL)",
            False,
        ),
        (lambda before: before.stop(), "handed over leadership: the manager stops", True),
        (
            _fail_stubbornly,
            STUBBORN_END,
            False,
        ),
    ],
)
def test_a_successor_receives_how_the_term_before_ended(end, ended, planned):
    """The record of it is overwritten by its own, so the guard passes it on."""
    with Simulation("a", "b") as world:
        before = world.settle()
        assert before.worker._term.predecessor_end == ""

        end(before)
        world.until(lambda: world.active not in ([], [before.name]), 60)

        received = world.managers[world.active[0]].worker._term
        assert (received.predecessor_end, received.planned) == (
            f"mgr.{before.name} {ended}",
            planned,
        )


def test_a_port_taken_at_the_first_start_ends_the_manager():
    """Somebody has just typed it: he reads which setting it is, and the name is free again."""
    with Simulation("a") as world:
        a = world.managers["a"]
        a.port_taken = True
        world.until(lambda: not a.running, 10)

        assert isinstance(a.failure, CannotListenError)
        assert str(a.failure) == "grpc_listen: taken"
        assert world.loop.run_until_complete(world.store.get(KEYS.manager("a"))) is None


def test_a_port_taken_later_is_waited_for():
    """It may be the worker before, or a passing connection: nobody stands beside it."""
    with Simulation("a", "b") as world:
        world.settle()
        a = world.managers["a"]
        a.port_taken = True
        a.worker.die("SIGKILL")
        world.run(20)
        assert a.running

        a.port_taken = False

        assert world.settle()


def test_a_store_that_stays_away_is_named_again_and_again_but_ever_more_seldom(caplog):
    """With the time since when, and once more when it is back: a log that says why nothing is."""
    caplog.set_level("INFO", "mgr.guard")
    with Simulation("a") as world:
        a = world.managers["a"]
        a.wire.network_fault = NetworkFault.REQUEST_LOST
        world.run(400)
        a.wire.network_fault = NetworkFault.NONE
        world.settle()

    joining = "joining the cluster"
    said = [one for one in caplog.records if getattr(one, "operation", "") == joining]
    lasted = [one.for_s for one in said[:-1]]
    assert len({one.since for one in said[:-1]}) == 1
    assert lasted[0] == 0
    assert 5 <= len(lasted) <= 10
    assert all(later >= 1.8 * earlier for earlier, later in pairwise(lasted[1:]))
    assert said[-1].message == "the store answers again"
    assert said[-1].after_s >= 400


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (StoreFullError("put: database space exceeded"), "no space"),
        (StoreUnavailableError("put: etcd does not answer: etcdserver: no leader"), "no quorum"),
        (StoreUnavailableError("put: etcd does not answer: cannot connect to h:1"), "cut off"),
        (StoreUnavailableError("put: etcd does not answer: Deadline Exceeded"), "slow"),
    ],
)
def test_a_suspended_manager_says_why(error, cause, caplog):
    """To its worker, which answers ``status``, to its log and to systemd; and when it is over."""
    with Simulation("a") as world:
        a = world.settle()
        world.store.commit, commit = _failing(error), world.store.commit
        world.until(lambda: a.guard.phase is Phase.SUSPENDED, 10)
        world.run(1)

        assert a.worker.phase_message.note.startswith(f"{cause}: ")
        assert any(cause in getattr(one, "why", "") for one in caplog.records)
        assert cause in a.systemd.messages[-1]

        world.store.commit = commit
        world.until(lambda: a.guard.phase is Phase.ACTIVE, 20)
        world.run(1)
        assert a.worker.phase_message.note == ""


def test_an_old_request_is_not_the_reason_of_a_later_death():
    """What was asked for ended with the term in which it was asked."""
    with Simulation("a") as world:
        a = world.settle()
        _fail_stubbornly(a)
        world.until(lambda: a.guard.phase is not Phase.ACTIVE, 60)
        world.until(lambda: a.guard.phase is Phase.ACTIVE, 60)
        a.worker.die("SIGKILL")
        world.until(lambda: a.guard.phase is not Phase.ACTIVE, 60)
        world.until(lambda: a.guard.phase is Phase.ACTIVE, 60)

        assert a.worker._term.predecessor_end == "mgr.a lost its worker, which died (SIGKILL)"


def _failing(error):
    async def commit(*_args, **_more):
        raise error

    return commit
