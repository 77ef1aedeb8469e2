"""One call's way to the active: how often it asks, and whom."""

from __future__ import annotations

import grpc
import pytest

from mgr.client.errand import HINTS_MAX, Elsewhere, Errand
from mgr.client.guide import Guide
from mgr.client.peers import Peers
from mgr.client.search import Sighting
from mgr.errors import NotActiveError
from mgr.rpc.status import code_of, status_of, trailers_of
from tests.support.clock import ManualClock


class Ended:
    """A call that has ended, as ``grpc.aio`` shows it: an answer, or the error that came."""

    def __init__(self, outcome):
        self.outcome = outcome

    def add_done_callback(self, callback):
        callback(self)

    def done(self):
        return True

    def cancel(self):
        return False

    def __await__(self):
        yield from ()
        if isinstance(self.outcome, NotActiveError):
            status = status_of(self.outcome)
            trailers = grpc.aio.Metadata(*trailers_of(status))
            raise grpc.aio.AioRpcError(
                code_of(self.outcome), grpc.aio.Metadata(), trailers, details=status.message
            )
        return self.outcome


class Managers:
    """Answers of managers by address; keeps who was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def send(self, peer, _remaining_s):
        self.asked.append(peer.address)
        return Ended(self.answers(peer.address))


def errand(managers, *, timeout_s=10):
    guide = Guide(Peers(["a:1"]), ManualClock(), reach_s=1)
    return guide, Errand(guide, managers.send, timeout_s=timeout_s)


async def test_hints_are_followed_three_times_and_no_more():
    """Managers that each name another one do not keep a client for ever."""
    managers = Managers(lambda address: NotActiveError(f"x{address}", term=5))
    _, one = errand(managers)

    with pytest.raises(Elsewhere):
        await one._round(Sighting(5, "a:1"))

    assert len(managers.asked) == HINTS_MAX + 1
    assert len(set(managers.asked)) == HINTS_MAX + 1


@pytest.mark.parametrize("hint", [None, "a:1"])
async def test_a_manager_without_a_better_idea_is_asked_once(hint):
    """It names nobody, or itself: the next attempt comes after a pause."""
    managers = Managers(lambda _: NotActiveError(hint))
    _, one = errand(managers)

    with pytest.raises(Elsewhere):
        await one._round(Sighting(5, "a:1"))

    assert managers.asked == ["a:1"]


async def test_a_hint_that_is_older_than_what_is_known_is_not_followed():
    """A manager that has not heard of the newest term would send its callers back."""
    managers = Managers(lambda _: NotActiveError("b:1", term=5))
    _, one = errand(managers)

    with pytest.raises(Elsewhere):
        await one._round(Sighting(9, "a:1"))

    assert managers.asked == ["a:1"]


async def test_an_answer_of_an_old_term_is_not_remembered_over_a_newer_one():
    """A call that was long under way may come back when the successor is known already."""
    managers = Managers(lambda _: "done")
    guide, one = errand(managers)
    guide.answered(Sighting(9, "b:1"))

    assert await one._round(Sighting(5, "a:1")) == "done"

    assert guide.active == Sighting(9, "b:1")


async def test_who_answered_is_asked_first_the_next_time():
    """One message for a call, once the active is known."""
    managers = Managers(lambda at: "done" if at == "b:1" else NotActiveError("b:1", term=6))
    guide, one = errand(managers)

    assert await one._round(Sighting(5, "a:1")) == "done"
    assert guide.active.address == "b:1"
    assert await Errand(guide, managers.send, timeout_s=1).run() == "done"
    assert managers.asked == ["a:1", "b:1", "b:1"]


async def test_nothing_is_sent_in_the_last_moment():
    """With no time left for an answer it could only become one more unknown outcome."""
    managers = Managers(lambda _: "done")
    _, one = errand(managers, timeout_s=0.005)

    with pytest.raises(Elsewhere):
        await one._round(Sighting(5, "a:1"))

    assert managers.asked == []
