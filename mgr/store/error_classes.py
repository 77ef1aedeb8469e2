"""Classifies failed requests to etcd: whether anything was done, and what to do next."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import grpc

from mgr.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    LeaseExpiredError,
    OutcomeUnknownError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TooLargeError,
)
from mgr.store.api import OPERATIONS_MAX, VALUE_BYTES_MAX

Code = grpc.StatusCode


class CompactedError(StoreError):
    """The requested revision was compacted: request the newest. Handled inside the store."""


class ReplyTooLargeError(StoreError):
    """The reply is above our limit for one message: request less at a time."""


class ErrorClass(Enum):
    """What to do after a failed attempt."""

    UNDONE = auto()
    """Nothing was done, for certain; try another endpoint."""
    UNCLEAR = auto()
    """No answer, or one that leaves open whether the request was done."""
    LOGIN = auto()
    """Nothing was done: the token is missing, invalid or expired; log in again."""
    FINAL = auto()
    """Etcd processed the request and refused it."""


BEFORE_ANYTHING: Final = (
    "failed to connect to all addresses",
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: not capable",
    "etcdserver: rpc not supported for learner",
)
"""Error texts that etcd or gRPC gives before a request is processed."""
BAD_TOKEN: Final = (
    "invalid auth token",
    "auth: revision in header is old",
    "revision of auth store is old",
    "user name is empty",
)
REFUSALS: Final[tuple[tuple[str, type[StoreError | InvalidArgumentError], str], ...]] = (
    ("requested lease not found", LeaseExpiredError, ""),
    (
        "database space exceeded",
        StoreFullError,
        "; compact and defragment etcd, or raise its quota",
    ),
    ("request is too large", TooLargeError, f"; the limit is {VALUE_BYTES_MAX} bytes"),
    ("too many operations", TooLargeError, f"; the limit is {OPERATIONS_MAX}"),
    ("required revision has been compacted", CompactedError, ""),
    ("message larger than max", ReplyTooLargeError, ""),
    ("authentication failed", AccessDeniedError, ""),
    *((words, AccessDeniedError, "; etcd wants a login") for words in BAD_TOKEN),
)
BY_CODE: Final[dict[grpc.StatusCode, type[StoreError | InvalidArgumentError]]] = {
    Code.PERMISSION_DENIED: AccessDeniedError,
    Code.UNAUTHENTICATED: AccessDeniedError,
    Code.INVALID_ARGUMENT: InvalidArgumentError,
}
WITHOUT_ANSWER: Final = (
    Code.UNAVAILABLE,
    Code.DEADLINE_EXCEEDED,
    Code.CANCELLED,
    Code.UNKNOWN,
    Code.INTERNAL,
    Code.ABORTED,
    Code.DATA_LOSS,
)


def classify(code: grpc.StatusCode, details: str) -> ErrorClass:
    """Classify an attempt that failed with gRPC's ``code`` and ``details``."""
    if any(words in details for words in BAD_TOKEN):
        return ErrorClass.LOGIN
    if any(words in details for words in BEFORE_ANYTHING):
        return ErrorClass.UNDONE
    return ErrorClass.UNCLEAR if code in WITHOUT_ANSWER else ErrorClass.FINAL


def unanswered_error(purpose: str, details: str, *, maybe_done: bool) -> StoreUnavailableError:
    """Return the error for a request that no endpoint answered in time."""
    if maybe_done:
        return OutcomeUnknownError(f"{purpose}: sent, but not answered: {details}")
    return StoreUnavailableError(f"{purpose}: etcd does not answer: {details}")


def refusal_error(
    purpose: str, code: grpc.StatusCode, details: str
) -> StoreError | InvalidArgumentError:
    """Return the error for a request that etcd refused."""
    for words, error, advice in REFUSALS:
        if words in details:
            return error(f"{purpose}: {details}{advice}")
    return BY_CODE.get(code, StoreError)(f"{purpose}: {details}")
