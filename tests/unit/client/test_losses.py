"""What may be killing managers is not carried to the next one."""

from __future__ import annotations

import pytest

from mgr.client.losses import PoisonCommandGuard
from mgr.errors import TermLostError


@pytest.mark.parametrize(
    ("terms", "too_many"), [((), False), ((5,), False), ((5, 5), False), ((5, 6), True)]
)
def test_two_terms_lost_are_too_many(terms, too_many):
    """A connection that broke twice in one term says nothing of the command."""
    guard = PoisonCommandGuard()

    for term in terms:
        guard.record_loss(term)

    assert guard.too_many is too_many


def test_its_caller_is_told_why_it_is_not_asked_again():
    """As a lost term: what it did is unknown."""
    guard = PoisonCommandGuard()
    guard.record_loss(5)
    guard.record_loss(6)

    error = guard.error("the connection broke")

    assert isinstance(error, TermLostError)
    assert "2 managers were lost" in str(error)
    assert "the connection broke" in str(error)
