"""Conversion of errors to gRPC statuses in the server, and back to errors in the client.

An error is sent as a ``google.rpc.Status`` with exactly one ``ErrorInfo``, whose reason is that of
the error class and whose domain is ``mgr.rpc.v1``. Servers and clients share this file, so that
both use the same table of codes.
"""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from mgr import errors
from mgr.errors import MgrError
from mgr.rpc.error_info import DOMAIN, fields_of, info_in, rebuilt

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailer with the ``google.rpc.Status``, the same in every gRPC implementation."""

CODES: Final[dict[type[MgrError], StatusCode]] = {
    # Default gRPC clients retry UNAVAILABLE on their own, so it is used only if nothing ran.
    MgrError: StatusCode.INTERNAL,
    errors.NotActiveError: StatusCode.UNAVAILABLE,
    errors.UnreachableError: StatusCode.UNAVAILABLE,
    errors.TermLostError: StatusCode.ABORTED,
    errors.NameTakenError: StatusCode.ALREADY_EXISTS,
    errors.NotEligibleError: StatusCode.FAILED_PRECONDITION,
    errors.StoreUnavailableError: StatusCode.UNAVAILABLE,
    errors.OutcomeUnknownError: StatusCode.DEADLINE_EXCEEDED,
    errors.LeaseExpiredError: StatusCode.ABORTED,
    errors.AccessDeniedError: StatusCode.PERMISSION_DENIED,
    errors.StoreFullError: StatusCode.RESOURCE_EXHAUSTED,
    errors.SealedError: StatusCode.FAILED_PRECONDITION,
    errors.ConflictError: StatusCode.ABORTED,
    errors.InvalidArgumentError: StatusCode.INVALID_ARGUMENT,
    errors.UnknownCommandError: StatusCode.UNIMPLEMENTED,
    errors.NotFoundError: StatusCode.NOT_FOUND,
    errors.NotAuthorizedError: StatusCode.PERMISSION_DENIED,
    errors.NotAuthenticatedError: StatusCode.UNAUTHENTICATED,
    errors.NotPermittedError: StatusCode.PERMISSION_DENIED,
    errors.ModuleNotEnabledError: StatusCode.FAILED_PRECONDITION,
    errors.ModuleNotReadyError: StatusCode.UNAVAILABLE,
    errors.ModuleFailedError: StatusCode.FAILED_PRECONDITION,
    errors.AuditUnavailableError: StatusCode.FAILED_PRECONDITION,
    errors.OverloadedError: StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceededError: StatusCode.DEADLINE_EXCEEDED,
    errors.ReportRefusedError: StatusCode.INVALID_ARGUMENT,
    errors.ReportLimitError: StatusCode.RESOURCE_EXHAUSTED,
    errors.ReplacedError: StatusCode.ALREADY_EXISTS,
}

BARE: Final[dict[StatusCode, type[MgrError]]] = {
    StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    StatusCode.INVALID_ARGUMENT: errors.InvalidArgumentError,
    # The connection broke, or the call was cancelled: the command may have run.
    StatusCode.UNAVAILABLE: errors.OutcomeUnknownError,
    StatusCode.CANCELLED: errors.OutcomeUnknownError,
    StatusCode.RESOURCE_EXHAUSTED: errors.OverloadedError,
}
"""Error class for a status without our ``ErrorInfo``: it came from gRPC itself, on either side."""

NEVER_SENT: Final = (
    "failed to connect",
    "DNS resolution failed",
    "errors resolving",
    "empty address list",
    "connections to all backends",
)
"""Beginnings of gRPC's texts for a call that was not sent. With any other it may have been sent."""
RESOLVING: Final = "errors resolving"
HANDSHAKE: Final = "Tls handshake failed"
CLOSED: Final = "Socket closed"
"""gRPC's whole text when a server disconnects because it requires TLS or a certificate."""

MESSAGE_BYTES_MAX: Final = 1600
FIELD_BYTES_MAX: Final = 400
"""Limits of texts. A status is sent twice in the trailers, once percent-encoded, and clients accept
8 KiB in total."""

_NUMBERS: Final[dict[int, StatusCode]] = {code.value[0]: code for code in StatusCode}


def code_of(error: MgrError) -> StatusCode:
    """Return the gRPC code of an error: that of its class or of the nearest parent class."""
    return next(CODES[family] for family in type(error).__mro__ if family in CODES)


def status_of(error: MgrError) -> status_pb2.Status:
    """Convert an error to its ``google.rpc.Status``."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={
            name: _short(str(getattr(error, name) or ""), FIELD_BYTES_MAX)
            for name in fields_of(type(error))
        },
    )
    detail = any_pb2.Any()
    detail.Pack(info)
    return status_pb2.Status(
        code=code_of(error).value[0],
        message=_short(str(error), MESSAGE_BYTES_MAX),
        details=[detail],
    )


def trailers_of(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """Return the trailing metadata that carries ``status``."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def error_of(failed: grpc.aio.AioRpcError) -> MgrError:
    """Convert a failed call back to the error that the manager raised.

    A failure of gRPC itself (connection refused, deadline exceeded, message too large) becomes an
    error of the corresponding class.
    """
    status = _status_in(failed)
    return error_in(status) if status else _bare(failed.code(), failed.details() or "")


def from_manager(failed: grpc.aio.AioRpcError) -> bool:
    """Return whether a manager sent this error, not gRPC on either side or a proxy."""
    status = _status_in(failed)
    return status is not None and info_in(status) is not None


def error_in(status: status_pb2.Status) -> MgrError:
    """Convert a status that was received as a message to its error."""
    info = info_in(status)
    if info is not None:
        return rebuilt(info, status.message)
    return _bare(_NUMBERS.get(status.code, StatusCode.UNKNOWN), status.message)


def _status_in(failed: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in failed.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None  # not ours: classified by its code
    return None


def _bare(code: StatusCode, details: str) -> MgrError:
    if code is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return errors.TooLargeError(f"message above the limit: {details}")
    if code is StatusCode.UNAVAILABLE and details.startswith(NEVER_SENT):
        return errors.UnreachableError(_why_not_sent(details))
    family = BARE.get(code, errors.InternalError)
    return family(details or code.name.lower().replace("_", " "))


def _why_not_sent(details: str) -> str:
    """Return the last part of gRPC's text: the error of the operating system or of OpenSSL."""
    details = details.removesuffix(": OK")  # the ending when certificates do not match
    if details.startswith(RESOLVING):
        return details.rpartition("address lookup failed for ")[2].removesuffix("]")
    why = details.rpartition(": ")[2]
    if HANDSHAKE in details:
        return f"{HANDSHAKE}: {why}"
    if why == CLOSED:
        return f"{why}: TLS on one side only, or a certificate that is missing?"
    return why


def _short(text: str, limit: int) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[:limit].decode(errors="ignore") + "…"
