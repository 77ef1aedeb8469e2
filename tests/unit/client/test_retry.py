"""What a failure means for its call; how often a client repeats calls and commands."""

from __future__ import annotations

import pytest

from mgr.client.retry import (
    REPEATS_MAX,
    REPEATS_PER_S,
    Failure,
    PoisonCommandGuard,
    RetryBudget,
    classify_failure,
)
from mgr.errors import (
    DeadlineExceededError,
    FencedError,
    MayHaveRunError,
    NotActiveError,
    NotFoundError,
    OutcomeUnknownError,
    TermLostError,
    UnreachableError,
)
from tests.support.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def taken(budget):
    """How many repetitions it lets through at this instant."""
    count = 0
    while budget.take():
        count += 1
    return count


def test_repetitions_at_once_are_bounded(clock):
    """However many calls wait, a manager that recovers gets few."""
    assert taken(RetryBudget(clock)) == REPEATS_MAX


def test_time_brings_repetitions_back(clock):
    """So many a second in the long run, and never more at once than at the beginning."""
    budget = RetryBudget(clock)
    taken(budget)

    clock.advance(0.5)
    assert taken(budget) == REPEATS_PER_S / 2

    clock.advance(3600)
    assert taken(budget) == REPEATS_MAX


def test_an_answer_brings_back_all(clock):
    """After a connection broke, a thousand calls are repeated as fast as they are answered."""
    budget = RetryBudget(clock)
    taken(budget)

    budget.refill()

    assert taken(budget) == REPEATS_MAX


@pytest.mark.parametrize(
    ("error", "by_manager", "by_connection"),
    [
        (NotActiveError("a:1"), Failure.RETRY_ELSEWHERE, Failure.FINAL),
        (TermLostError("over"), Failure.UNCLEAR, Failure.FINAL),
        (FencedError("k", term=5), Failure.UNCLEAR, Failure.FINAL),
        (MayHaveRunError("x", term=5), Failure.FINAL, Failure.FINAL),
        (UnreachableError("refused"), Failure.FINAL, Failure.RETRY_ELSEWHERE),
        (OutcomeUnknownError("broke"), Failure.FINAL, Failure.UNCLEAR),
        (DeadlineExceededError("late"), Failure.FINAL, Failure.UNCLEAR),
        (NotFoundError("none"), Failure.FINAL, Failure.FINAL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_means_one_thing(error, by_manager, by_connection):
    """The same class means something else from a manager than from the connection."""
    assert classify_failure(error, from_manager=True) is by_manager
    assert classify_failure(error, from_manager=False) is by_connection


def test_a_deadline_of_a_request_that_was_not_sent_is_harmless():
    """Nothing can have run; once sent, it may have."""
    late = DeadlineExceededError("late")

    assert classify_failure(late, from_manager=False, sent=False) is Failure.RETRY_ELSEWHERE
    assert classify_failure(late, from_manager=True, sent=False) is Failure.FINAL


@pytest.mark.parametrize(
    ("terms", "too_many"), [((), False), ((5,), False), ((5, 5), False), ((5, 6), True)]
)
def test_two_terms_lost_are_too_many(terms, too_many):
    """A connection that broke twice in one term is no evidence against the command."""
    guard = PoisonCommandGuard()

    for term in terms:
        guard.record_loss(term)

    assert guard.too_many is too_many


def test_the_error_says_why_the_command_is_not_repeated():
    """As a lost term: what it did is unknown."""
    guard = PoisonCommandGuard()
    guard.record_loss(5)
    guard.record_loss(6)

    error = guard.error("the connection broke")

    assert isinstance(error, TermLostError)
    assert "2 managers were lost" in str(error)
    assert "the connection broke" in str(error)
