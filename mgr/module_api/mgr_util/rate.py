"""Rates, from counters that were read at several moments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Sample = tuple[float, float]
"""A moment in seconds and a value."""


def get_most_recent_rate(rates: Sequence[Sample] | None) -> float:
    """The last of ``rates``; 0.0 if there is none."""
    return rates[-1][1] if rates else 0.0


def get_time_series_rates(data: Sequence[Sample]) -> list[Sample]:
    """The change per second between one sample and the next, at the later one's moment.

    Of samples of one moment the last counts. A single sample has the rate 0.0.
    """
    by_moment = dict(data)
    samples = [(moment, by_moment[moment]) for moment in by_moment]
    if len(samples) == 1:
        return [(samples[0][0], 0.0)]
    return [
        (later, (value - before) / (later - earlier))
        for (earlier, before), (later, value) in pairwise(samples)
    ]
