"""Computes rates from samples of a counter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Sample = tuple[float, float]
"""A time in seconds and a value."""


def get_most_recent_rate(rates: Sequence[Sample] | None) -> float:
    """Return the last of ``rates``; 0.0 if there is none."""
    return rates[-1][1] if rates else 0.0


def get_time_series_rates(data: Sequence[Sample]) -> list[Sample]:
    """Return the change per second between consecutive samples, with the time of the later one.

    Of several samples with the same time the last is used. A single sample has the rate 0.0.
    """
    by_moment = dict(data)
    samples = [(moment, by_moment[moment]) for moment in by_moment]
    if len(samples) == 1:
        return [(samples[0][0], 0.0)]
    return [
        (later, (value - before) / (later - earlier))
        for (earlier, before), (later, value) in pairwise(samples)
    ]
