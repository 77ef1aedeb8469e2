"""Spans that contradict each other refuse to be."""

from __future__ import annotations

import pytest

from mgr.election.timing import CLOCK_RATE_ERROR, Timing
from mgr.errors import InvalidSettingError


@pytest.mark.parametrize("ttl_s", [2, 5, 10, 60])
def test_every_lease_that_the_settings_allow_has_spans(ttl_s):
    """From the shortest to the longest."""
    timing = Timing.of_lease(ttl_s)

    assert timing.renew_every_s == ttl_s / 5
    assert timing.request_s < timing.renew_every_s


def test_the_deadline_counts_from_the_sending_and_ends_before_the_lease_can():
    """A clock that is slow by the rate allowed still reaches it first."""
    timing = Timing.of_lease(5)

    real_span_s = (timing.deadline_s(100.0) - 100.0) * (1 + CLOCK_RATE_ERROR)

    assert real_span_s < timing.ttl_s
    assert timing.deadline_s(100.0) == pytest.approx(100 + 5 * 0.99 - 0.15)


def test_a_successor_waits_longer_than_its_predecessor_believes():
    """The window is counted from the end of the key, after the last renewal."""
    timing = Timing.of_lease(5)

    assert timing.window_s > timing.usable_s * (1 + CLOCK_RATE_ERROR)


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ({"ttl_s": 1.0}, "raise lease_ttl_s"),
        ({"margin_s": 0.0}, "must be above 0"),
        ({"margin_s": 4.0}, "do not fit"),
        ({"renew_every_s": 2.0}, "do not fit"),
        ({"request_s": 1.5}, "would still wait"),
    ],
)
def test_spans_under_which_a_healthy_active_would_lose_leadership_are_refused(spans, words):
    """The message names what to change."""
    with pytest.raises(InvalidSettingError, match=words):
        Timing(**spans)


def test_the_granted_lease_counts_and_not_the_one_asked_for():
    """Etcd has a floor; the deadline moves with what it gave."""
    timing = Timing.of_lease(2).with_ttl(3.0)

    assert timing.deadline_s(0.0) == pytest.approx(3 * 0.99 - 0.15)
    assert timing.renew_every_s == pytest.approx(0.4)
