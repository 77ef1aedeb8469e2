import pytest
from grpc import StatusCode as Code

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
from mgr.store.error_classes import (
    CompactedError,
    ErrorClass,
    classify,
    refusal_error,
    unanswered_error,
)


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (Code.UNAVAILABLE, "failed to connect to all addresses; last error: x", ErrorClass.UNDONE),
        (Code.UNAVAILABLE, "etcdserver: no leader", ErrorClass.UNDONE),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests", ErrorClass.UNDONE),
        (Code.UNAVAILABLE, "etcdserver: leader changed", ErrorClass.UNCLEAR),
        (Code.UNAVAILABLE, "etcdserver: request timed out", ErrorClass.UNCLEAR),
        (Code.UNAVAILABLE, "Socket closed", ErrorClass.UNCLEAR),
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", ErrorClass.UNCLEAR),
        (Code.UNKNOWN, "raft: stopped", ErrorClass.UNCLEAR),
        (Code.INTERNAL, "RST_STREAM", ErrorClass.UNCLEAR),
        (Code.UNAUTHENTICATED, "etcdserver: invalid auth token", ErrorClass.LOGIN),
        (Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", ErrorClass.LOGIN),
        (Code.INVALID_ARGUMENT, "etcdserver: user name is empty", ErrorClass.LOGIN),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", ErrorClass.FINAL),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", ErrorClass.FINAL),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", ErrorClass.FINAL),
    ],
)
def test_only_what_was_surely_not_done_counts_as_undone(code, details, expected):
    """A doubt is never resolved in favour of sending again."""
    assert classify(code, details) is expected


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (Code.NOT_FOUND, "etcdserver: requested lease not found", LeaseExpiredError),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", StoreFullError),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", TooLargeError),
        (Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request", TooLargeError),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", AccessDeniedError),
        (
            Code.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            AccessDeniedError,
        ),
        (Code.INVALID_ARGUMENT, "etcdserver: user name is empty", AccessDeniedError),
        (
            Code.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted",
            CompactedError,
        ),
        (Code.INVALID_ARGUMENT, "etcdserver: duplicate key given", InvalidArgumentError),
        (Code.UNIMPLEMENTED, "unknown service", StoreError),
    ],
)
def test_each_refusal_has_its_class_and_names_the_key(code, details, expected):
    """The caller can tell what to do, the reader of the log which key it was."""
    error = refusal_error("put '/k'", code, details)
    assert type(error) is expected
    assert str(error).startswith(f"put '/k': {details}")


def test_a_missing_answer_is_unknown_only_where_something_may_have_been_done():
    """For a read, nothing was."""
    assert type(unanswered_error("get '/k'", "x", maybe_done=False)) is StoreUnavailableError
    assert type(unanswered_error("put '/k'", "x", maybe_done=True)) is OutcomeUnknownError
