"""Asking again where asking was of no use: bounded, and free where it is of use."""

from __future__ import annotations

import pytest

from mgr.client.retry import REPEATS_MAX, REPEATS_PER_S, RetryBudget
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
    """However many calls wait, a manager that recovers hears of few."""
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
