"""One call's way to the active: how often it asks, and whom."""

from __future__ import annotations

import grpc
import pytest

from mgr import errors
from mgr.client.attempt import Attempts
from mgr.client.call import HINTS_MAX, LeaderCall
from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import LeaderHint, LeaderSearch
from mgr.client.peers import Peer, Peers
from mgr.client.retry import RetryElsewhere
from mgr.errors import (
    DeadlineExceededError,
    MayHaveRunError,
    MgrError,
    NotActiveError,
    NotFoundError,
    OutcomeUnknownError,
    TermLostError,
    UnreachableError,
)
from mgr.rpc.error_info import families
from mgr.rpc.status import code_of, status_of, trailers_of
from mgr.rpc.v1.command_pb2 import ExecuteRequest
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
        if isinstance(self.outcome, MgrError):
            status = status_of(self.outcome)
            trailers = grpc.aio.Metadata(*trailers_of(status))
            raise grpc.aio.AioRpcError(
                code_of(self.outcome), grpc.aio.Metadata(), trailers, details=status.message
            )
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Managers:
    """Answers of managers by address; keeps who was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def send(self, peer, _remaining_s):
        self.asked.append(peer.address)
        return Ended(self.answers(peer.address))


def leader_call(managers, *, timeout_s=10):
    leader_cache = LeaderCache(Peers(["a:1"]), ManualClock(), reach_s=1)
    return leader_cache, LeaderCall(leader_cache, managers.send, timeout_s=timeout_s)


async def test_hints_are_followed_three_times_and_no_more():
    """Managers that each name another one do not keep a client for ever."""
    managers = Managers(lambda address: NotActiveError(f"x{address}", term=5))
    _, one = leader_call(managers)

    with pytest.raises(RetryElsewhere):
        await one._follow_hints(LeaderHint(5, "a:1"))

    assert len(managers.asked) == HINTS_MAX + 1
    assert len(set(managers.asked)) == HINTS_MAX + 1


@pytest.mark.parametrize("hint", [None, "a:1"])
async def test_a_manager_without_a_better_idea_is_asked_once(hint):
    """It names nobody, or itself: the next attempt comes after a pause."""
    managers = Managers(lambda _: NotActiveError(hint))
    _, one = leader_call(managers)

    with pytest.raises(RetryElsewhere):
        await one._follow_hints(LeaderHint(5, "a:1"))

    assert managers.asked == ["a:1"]


async def test_a_hint_that_is_older_than_what_is_known_is_not_followed():
    """A manager that does not know the newest term would send its callers back."""
    managers = Managers(lambda _: NotActiveError("b:1", term=5))
    _, one = leader_call(managers)

    with pytest.raises(RetryElsewhere):
        await one._follow_hints(LeaderHint(9, "a:1"))

    assert managers.asked == ["a:1"]


async def test_an_answer_of_an_old_term_is_not_remembered_over_a_newer_one():
    """A call that was long under way may come back when the successor is known already."""
    managers = Managers(lambda _: "done")
    leader_cache, one = leader_call(managers)
    leader_cache.remember(LeaderHint(9, "b:1"))

    assert await one._follow_hints(LeaderHint(5, "a:1")) == "done"

    assert leader_cache.active == LeaderHint(9, "b:1")


async def test_who_answered_is_asked_first_the_next_time():
    """One message for a call, once the active is known."""
    managers = Managers(lambda at: "done" if at == "b:1" else NotActiveError("b:1", term=6))
    leader_cache, one = leader_call(managers)

    assert await one._follow_hints(LeaderHint(5, "a:1")) == "done"
    assert leader_cache.active.address == "b:1"
    assert await LeaderCall(leader_cache, managers.send, timeout_s=1).run() == "done"
    assert managers.asked == ["a:1", "b:1", "b:1"]


async def test_nothing_is_sent_in_the_last_moment():
    """With no time left for an answer it could only become one more unknown outcome."""
    managers = Managers(lambda _: "done")
    _, one = leader_call(managers, timeout_s=0.005)

    with pytest.raises(RetryElsewhere):
        await one._follow_hints(LeaderHint(5, "a:1"))

    assert managers.asked == []


MADE = {
    errors.MayHaveRunError: MayHaveRunError("x", term=5),
    errors.FencedError: errors.FencedError("k", term=5),
    errors.ReportRefusedError: errors.ReportRefusedError("rule", "no"),
    errors.ReportLimitError: errors.ReportLimitError("rule", "no"),
}


@pytest.mark.parametrize(
    "family",
    sorted(set(families()) - {NotActiveError}, key=lambda family: family.__name__),
    ids=lambda family: family.__name__,
)
async def test_no_refusal_hides_an_attempt_that_may_have_run(family):
    """Whatever the class: an error about the last attempt only becomes "unknown"."""
    refusal = MADE[family] if family in MADE else family("why it was refused")
    managers = Managers(lambda _: refusal)
    leader_cache = LeaderCache(Peers(["a:1"]), ManualClock(), reach_s=1)
    one = LeaderCall(
        leader_cache, managers.send, timeout_s=10, earlier={"b:1": "the connection broke"}
    )

    with pytest.raises((MgrError, RetryElsewhere)) as raised:
        await one._follow_hints(LeaderHint(5, "a:1"))

    error = raised.value
    unknown = (RetryElsewhere, TermLostError, DeadlineExceededError, OutcomeUnknownError)
    assert isinstance(error, unknown)
    if type(error) is OutcomeUnknownError and family is not OutcomeUnknownError:
        assert "b:1: the connection broke" in str(error)
        assert "why it was refused" in str(error) or family in MADE


async def test_a_refused_read_is_refused():
    """It changes nothing, so it does not matter whether an earlier attempt ran."""
    managers = Managers(lambda _: NotFoundError("no such map"))
    leader_cache = LeaderCache(Peers(["a:1"]), ManualClock(), reach_s=1)
    one = LeaderCall(
        leader_cache,
        managers.send,
        timeout_s=10,
        changes=False,
        earlier={"b:1": "the connection broke"},
    )

    with pytest.raises(NotFoundError):
        await one._follow_hints(LeaderHint(5, "a:1"))


def test_only_retries_say_how_old_the_request_is():
    """By the client's clock, from the moment at which the first attempt was sent."""
    clock = ManualClock()
    attempts = Attempts(ExecuteRequest(words=["x"], request_id="r1"), clock)
    clock.advance(100)
    first = attempts.next()
    clock.advance(700)
    second = attempts.next()

    assert not first.HasField("age")
    assert second.age.ToSeconds() == 700
    second.ClearField("age")
    assert second == first


@pytest.mark.parametrize(("ready", "expected"), [(True, "unknown"), (False, "no active manager")])
async def test_a_call_that_was_sent_may_have_run_though_the_channel_is_gone(
    monkeypatch, ready, expected
):
    """A server that closes lets its calls end, here by their deadline, and takes no other."""
    late = grpc.aio.AioRpcError(
        grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata()
    )
    monkeypatch.setattr(Peer, "ready", lambda _: ready)
    monkeypatch.setattr(Peer, "connected", lambda _: False)
    _, one = leader_call(Managers(lambda _: late))

    with pytest.raises(RetryElsewhere):
        await one._follow_hints(LeaderHint(5, "a:1"))

    one._answered = True
    assert expected in str(one._timeout_error(LeaderSearch(one._leader_cache.peers)))


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceededError("'log last' was begun and is not finished: its outcome is unknown"),
        TermLostError("the term was not confirmed again"),
    ],
)
async def test_a_read_is_never_of_unknown_outcome(error):
    """Nothing was changed, whatever became of the attempt: it is repeated, or not answered."""
    managers = Managers(lambda _: error)
    leader_cache = LeaderCache(Peers(["a:1"]), ManualClock(), reach_s=1)
    one = LeaderCall(leader_cache, managers.send, timeout_s=10, changes=False)

    with pytest.raises(RetryElsewhere):
        await one._follow_hints(LeaderHint(5, "a:1"))

    async with LeaderSearch(Peers(["a:1"])) as search:
        failed = one._timeout_error(search)

    assert isinstance(failed, UnreachableError)
    assert "unknown" not in str(failed).partition("(")[0]
    assert "nothing was changed" in str(failed)
