"""Errors cross the wire and come back as what they were."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from mgr import errors
from mgr.errors import MgrError
from mgr.rpc.error_info import DOMAIN, families
from mgr.rpc.status import (
    CODES,
    MESSAGE_BYTES_MAX,
    code_of,
    error_in,
    error_of,
    from_manager,
    status_of,
    trailers_of,
)

ARGUMENTS = {
    errors.NotActiveError: (("b:7400",), {"active_name": "b", "term": 7, "age_s": 0.25}),
    errors.FencedError: (("/mgr/x/config/a",), {"term": 7}),
    errors.MayHaveRunError: (("r-1",), {"term": 7}),
    errors.ReportRefusedError: (("name", "no such name"), {}),
    errors.ReportLimitError: (("rate", "too often"), {}),
}
PRODUCT = [family for family in families() if family.__module__ == "mgr.errors"]


def made(family):
    positional, named = ARGUMENTS.get(family, (("there is no hut",), {}))
    return family(*positional, **named)


def failed(code, details="", trailers=()):
    metadata = grpc.aio.Metadata(*trailers)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details=details)


@pytest.mark.parametrize("family", [each for each in PRODUCT if each is not MgrError])
def test_every_error_comes_back_as_its_own_class(family):
    """With its message and its fields."""
    error = made(family)
    status = status_of(error)

    back = error_of(failed(code_of(error), status.message, trailers_of(status)))

    assert type(back) is family
    assert str(back) == str(error)
    for name in ("active_address", "active_name", "term", "age_s", "rule"):
        assert getattr(back, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("family", PRODUCT)
def test_every_error_has_exactly_one_reason(family):
    """One ErrorInfo, ours, in upper case."""
    status = status_of(made(family) if family is not MgrError else MgrError("x"))
    info = error_details_pb2.ErrorInfo()

    assert len(status.details) == 1
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == (DOMAIN, family.reason)
    assert info.reason == info.reason.upper()


def test_only_what_did_not_run_is_unavailable():
    """Stock clients repeat UNAVAILABLE on their own, and do not ask what for."""
    assert {each for each, code in CODES.items() if code is grpc.StatusCode.UNAVAILABLE} == {
        errors.NotActiveError,
        errors.UnreachableError,
        errors.StoreUnavailableError,
        errors.ModuleNotReadyError,
    }
    assert code_of(errors.OutcomeUnknownError("x")) is not grpc.StatusCode.UNAVAILABLE


def test_an_error_without_a_row_of_its_own_leaves_as_its_parent():
    """A new class needs a row only where it differs."""
    assert code_of(errors.FencedError("k", term=1)) is grpc.StatusCode.ABORTED
    assert code_of(errors.TooLargeError("x")) is grpc.StatusCode.INVALID_ARGUMENT


def test_nobody_leads_has_no_address():
    """An empty field comes back as None, not as an address."""
    back = error_in(status_of(errors.NotActiveError(None)))

    assert isinstance(back, errors.NotActiveError)
    assert back.active_address is None


@pytest.mark.parametrize(
    ("code", "details", "family"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: x", "UnreachableError"),
        ("UNAVAILABLE", "DNS resolution failed for x", "UnreachableError"),
        (
            "UNAVAILABLE",
            (
                "errors resolving x:1: [field:hostname lookup error:address lookup failed for "
                "x:1: Domain name not found]"
            ),
            "UnreachableError",
        ),
        ("UNAVAILABLE", "empty address list: ", "UnreachableError"),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", "OutcomeUnknownError"),
        ("UNAVAILABLE", "Socket closed", "OutcomeUnknownError"),
        ("CANCELLED", "", "OutcomeUnknownError"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "DeadlineExceededError"),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", "TooLargeError"),
        ("RESOURCE_EXHAUSTED", "too many", "OverloadedError"),
        ("UNKNOWN", "odd", "InternalError"),
    ],
)
def test_a_failure_of_grpc_itself_becomes_the_class_of_its_meaning(code, details, family):
    """Only what certainly did not leave this machine counts as not sent."""
    error = failed(grpc.StatusCode[code], details)

    assert type(error_of(error)).__name__ == family
    assert not from_manager(error)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (
            "UNKNOWN: ipv4:127.0.0.1:7400: connect: Connection refused (111)",
            "Connection refused (111)",
        ),
        (
            "UNKNOWN: ipv4:127.0.0.1:7400: Tls handshake failed (TSI_PROTOCOL_FAILURE): x: OK",
            "Tls handshake failed: x",
        ),
        (
            "UNAVAILABLE: ipv4:127.0.0.1:7400: Socket closed",
            "Socket closed: TLS on one side only, or a certificate that is missing?",
        ),
    ],
    ids=["refused", "certificate", "closed"],
)
def test_why_there_is_no_connection_is_said_in_few_words(last, said):
    """The last of gRPC's, unless it says nothing; what they mean where it seldom is clear."""
    details = f"failed to connect to all addresses; last error: {last}"

    assert str(error_of(failed(grpc.StatusCode.UNAVAILABLE, details))) == said


def test_a_reason_of_a_newer_manager_is_kept_as_text():
    """An old client shows the message as received."""
    info = error_details_pb2.ErrorInfo(reason="TOO_WINDY", domain=DOMAIN)
    status = status_pb2.Status(code=9, message="no flight today")
    status.details.add().Pack(info)

    back = error_in(status)

    assert type(back) is errors.InternalError
    assert str(back) == "no flight today"


def test_details_of_others_are_not_taken_for_ours():
    """A proxy may send an ErrorInfo as well."""
    status = status_pb2.Status(code=14, message="upstream gone")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="NOT_ACTIVE", domain="proxy"))
    error = failed(grpc.StatusCode.UNAVAILABLE, "upstream gone", trailers_of(status))

    assert not from_manager(error)
    assert type(error_of(error)) is errors.OutcomeUnknownError


def test_rubbish_in_the_trailer_is_judged_by_the_code():
    """A status that cannot be read is none."""
    error = failed(
        grpc.StatusCode.DEADLINE_EXCEEDED, "late", (("grpc-status-details-bin", b"\xff\xff"),)
    )

    assert type(error_of(error)) is errors.DeadlineExceededError


def test_a_long_message_is_cut_to_what_trailers_may_hold():
    """On a character's border: a client refuses trailers above 8 KiB, and then knows nothing."""
    status = status_of(errors.NotFoundError("Größe " * 2000))

    assert len(status.message.encode()) <= MESSAGE_BYTES_MAX + len("…".encode())
    assert status.message.endswith("…")
