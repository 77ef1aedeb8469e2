"""The attempts of one call: the age of its request, and whether an attempt may have run."""

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
    """Makes the messages of one request; each but the first carries the age of the request.

    A manager does not run a request that is older than its record of requests (ADR 36).
    """

    def __init__(self, request: ExecuteRequest, clock: Clock) -> None:
        """Repeat ``request``; ``clock`` counts while the machine sleeps."""
        self._request = request
        self._clock = clock
        self._first_sent_s: float | None = None

    def next(self) -> ExecuteRequest:
        """Return the message of the next attempt, which is sent now."""
        now_s = self._clock.now()
        if self._first_sent_s is None:
            self._first_sent_s = now_s
            return self._request
        # A new message, because gRPC may not have serialized the one before yet.
        repeated = ExecuteRequest()
        repeated.CopyFrom(self._request)
        repeated.age.CopyFrom(span(now_s - self._first_sent_s))
        return repeated


def refusal_after_attempt(refusal: MgrError, earlier: str) -> MgrError:
    """Return the error of a call that ends with ``refusal`` after an attempt that may have run.

    The refusal is about the last attempt only. ``earlier`` describes how the earlier one ended.
    """
    if isinstance(refusal, UNKNOWN_OUTCOME_ERRORS):
        return refusal
    return OutcomeUnknownError(
        f"an earlier attempt may have run ({earlier}); "
        f"the last one was refused: {refusal.reason}: {refusal}"
    )
