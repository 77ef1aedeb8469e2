"""An error that nobody foresaw ends a manager, its worker first; another one leads."""

from __future__ import annotations

import pytest

from mgr.election.machine import Event, step
from mgr.guard import loop as guard_file
from mgr.state_machine import UnexpectedEventError
from tests.support.simulation import Simulation


class UnforeseenError(Exception):
    """No part of the guard expects this one."""


async def unforeseen(*_, **__):
    raise UnforeseenError


@pytest.mark.parametrize("request_", ["commit", "get", "renew"])
def test_an_unforeseen_error_of_the_store_ends_the_manager(request_):
    """Whichever part met it: half a guard would be worse than none."""
    with Simulation("a", "b") as world:
        before = world.settle()
        worker = before.worker
        setattr(before.wire, request_, unforeseen)

        with pytest.raises(ExceptionGroup) as caught:
            world.run(20)

        assert caught.group_contains(UnforeseenError)
        assert worker.dead
        before.task = world.loop.create_future()
        world.until(lambda: world.active not in ([], [before.name]), 10)


def test_a_presence_that_cannot_be_made_ends_the_manager():
    """Nothing waits for the signboard, and yet nobody must be led by half a guard."""
    with Simulation("a", "b") as world:
        before = world.settle()

        def broken():
            raise UnforeseenError

        before.guard._presence_updater._records.presence = broken
        before.guard._presence_updater.stale.set()
        with pytest.raises(ExceptionGroup) as caught:
            world.run(5)

        assert caught.group_contains(UnforeseenError)
        assert before.worker.dead


def test_an_event_that_cannot_happen_ends_the_manager(monkeypatch):
    """Told by a callback of the event loop, it would otherwise be a line in a log."""

    def buggy(phase, event):
        if event is Event.WORKER_EXITED:
            raise UnexpectedEventError("WORKER_EXITED")
        return step(phase, event)

    with Simulation("a", "b") as world:
        before = world.settle()
        monkeypatch.setattr(guard_file, "step", buggy)
        before.worker.die("SIGKILL")

        with pytest.raises(UnexpectedEventError):
            world.run(0.1)
