"""How often a client may ask again where asking was of no use."""

from __future__ import annotations

from typing import Final

from mgr.clock import Clock

REPEATS_MAX: Final = 20
"""Repetitions that may come at once."""
REPEATS_PER_S: Final = 20.0
"""Repetitions in the long run, of all calls of a client together."""


class RetryBudget:
    """Tokens: a repetition takes one, time brings them back, and an answer brings back all.

    Without it a thousand calls that wait in one client for a manager to recover would each ask
    ten times a second, and keep it from recovering. With it they ask as one. Where asking again
    is of use, as after a broken connection, answers come and nobody is held back.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin full."""
        self._clock = clock
        self._tokens = float(REPEATS_MAX)
        self._counted_s = clock.now()

    def take(self) -> bool:
        """Take a token; False if there is none, and asking has to wait."""
        now_s = self._clock.now()
        brought = (now_s - self._counted_s) * REPEATS_PER_S
        self._tokens = min(float(REPEATS_MAX), self._tokens + brought)
        self._counted_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def refill(self) -> None:
        """Somebody answered: asking is of use again."""
        self._tokens = float(REPEATS_MAX)
