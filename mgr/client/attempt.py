"""What the attempts of one call have in common: its age, and whether one of them may have run."""

from __future__ import annotations

from typing import Final

from mgr.clock import Clock
from mgr.errors import (
    DeadlineExceededError,
    MgrError,
    OutcomeUnknownError,
    TermLostError,
)
from mgr.rpc.codec import span
from mgr.rpc.v1.command_pb2 import ExecuteRequest

UNKNOWN_OUTCOME_ERRORS: Final = (TermLostError, DeadlineExceededError, OutcomeUnknownError)
"""Errors that do not claim that nothing ran."""


class Attempts:
    """The messages of one request: every one but the first says how old the request is.

    A manager does not run a request that is older than what it knows (ADR 36).
    """

    def __init__(self, request: ExecuteRequest, clock: Clock) -> None:
        """Repeat ``request``; ``clock`` counts while the machine sleeps."""
        self._request = request
        self._clock = clock
        self._first_sent_s: float | None = None

    def next(self) -> ExecuteRequest:
        """The message of the next attempt, which is sent now."""
        now_s = self._clock.now()
        if self._first_sent_s is None:
            self._first_sent_s = now_s
            return self._request
        # Another message: gRPC may not have read the one before.
        repeated = ExecuteRequest()
        repeated.CopyFrom(self._request)
        repeated.age.CopyFrom(span(now_s - self._first_sent_s))
        return repeated


def refusal_after_attempt(refusal: MgrError, earlier: str) -> MgrError:
    """The error of a call that ends with ``refusal`` after an attempt that may have run.

    The refusal speaks of the last attempt only. ``earlier`` says how the earlier one ended.
    """
    if isinstance(refusal, UNKNOWN_OUTCOME_ERRORS):
        return refusal
    return OutcomeUnknownError(
        f"an earlier attempt may have run ({earlier}); "
        f"the last one was refused: {refusal.reason}: {refusal}"
    )
