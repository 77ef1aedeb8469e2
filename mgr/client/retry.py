"""When a client repeats a failed attempt: what a failure means, and how often to try again.

``classify_failure`` is the only place that decides whether a command may be sent again.
"""

from __future__ import annotations

import enum
from typing import Final

from mgr.clock import Clock
from mgr.errors import (
    DeadlineExceededError,
    MayHaveRunError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    TermLostError,
    UnreachableError,
)

REPEATS_MAX: Final = 20
"""Repetitions that may come at once."""
REPEATS_PER_S: Final = 20.0
"""Repetitions in the long run, of all calls of a client together."""
LOSSES_MAX: Final = 1
"""A command that was running when the connection broke is repeated in the next term. If the
connection breaks there as well, the command itself may kill managers, so no third term gets it."""


class RetryElsewhere(Exception):  # noqa: N818 - no failure: the next attempt may well succeed
    """This attempt brought no result, and another attempt is safe."""


class Failure(enum.Enum):
    """What a failed attempt means for its call."""

    RETRY_ELSEWHERE = enum.auto()
    """Nothing ran: the call may be sent to another manager."""
    UNCLEAR = enum.auto()
    """It may have run: repeat it only where the manager recognizes the request id."""
    FINAL = enum.auto()
    """The error is the result of the call."""


_Table = tuple[tuple[type[MgrError], Failure], ...]

FROM_MANAGER: Final[_Table] = (
    (NotActiveError, Failure.RETRY_ELSEWHERE),
    # Before its parent class: it reports what became of an earlier attempt, which is the result.
    (MayHaveRunError, Failure.FINAL),
    (TermLostError, Failure.UNCLEAR),
    (MgrError, Failure.FINAL),
)
"""Errors that a manager raised. The first class that matches decides."""

FROM_CONNECTION: Final[_Table] = (
    (UnreachableError, Failure.RETRY_ELSEWHERE),
    (OutcomeUnknownError, Failure.UNCLEAR),
    (DeadlineExceededError, Failure.UNCLEAR),
    (MgrError, Failure.FINAL),
)
"""Errors of gRPC itself, on either side. The first class that matches decides."""


def classify_failure(error: MgrError, *, from_manager: bool, sent: bool = True) -> Failure:
    """Return what ``error`` means for the call whose attempt it ended.

    Without ``sent`` the request never left this machine, so running out of time is harmless.
    """
    if not from_manager and not sent and isinstance(error, DeadlineExceededError):
        return Failure.RETRY_ELSEWHERE
    table = FROM_MANAGER if from_manager else FROM_CONNECTION
    return next(failure for family, failure in table if isinstance(error, family))


class PoisonCommandGuard:
    """Stops retrying a command after the connection broke in two terms: it may kill managers.

    Terms are counted, not breaks: a network that cuts the same connection twice is no evidence
    against the command.
    """

    __slots__ = ("_terms",)

    def __init__(self) -> None:
        """Begin without any loss."""
        self._terms: frozenset[int] = frozenset()

    def record_loss(self, term: int) -> None:
        """Count that the connection broke in ``term`` while the command was running."""
        self._terms |= {term}

    @property
    def too_many(self) -> bool:
        """Whether the command must not be repeated."""
        return len(self._terms) > LOSSES_MAX

    def error(self, why: str) -> TermLostError:
        """Return the error that ends the call; ``why`` is how the last connection was lost."""
        return TermLostError(
            f"{len(self._terms)} managers were lost while this command was running, which may "
            f"be the reason: not repeated; check what it did (the last: {why})"
        )


class RetryBudget:
    """Tokens for repetitions: each takes one, time brings them back, an answer brings back all.

    Without it a thousand calls of one client that wait for a manager to recover would each ask
    ten times a second, and keep it from recovering. With it they ask as often as one call does.
    Where repeating is useful, as after a broken connection, answers come and no call is delayed.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with ``REPEATS_MAX`` tokens."""
        self._clock = clock
        self._tokens = float(REPEATS_MAX)
        self._counted_s = clock.now()

    def take(self) -> bool:
        """Take a token; False if there is none and the repetition has to wait."""
        now_s = self._clock.now()
        refilled = (now_s - self._counted_s) * REPEATS_PER_S
        self._tokens = min(float(REPEATS_MAX), self._tokens + refilled)
        self._counted_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def refill(self) -> None:
        """Bring back all tokens: a manager answered."""
        self._tokens = float(REPEATS_MAX)
