"""How an error leaves the process over gRPC, and how a client gets it back.

One table of codes, one form: a ``google.rpc.Status`` with exactly one ``ErrorInfo`` whose
reason is the error class's and whose domain is ``mgr.rpc.v1``. Servers and clients share this
file, so what one writes the other reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from mgr import errors
from mgr.errors import MgrError, NotActiveError

DOMAIN: Final = "mgr.rpc.v1"
DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailer in which a ``google.rpc.Status`` travels, as every gRPC implementation knows it."""

CODES: Final[dict[type[MgrError], StatusCode]] = {
    # UNAVAILABLE is what stock clients retry on their own: only where nothing ran.
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
    errors.ConflictError: StatusCode.ABORTED,
    errors.InvalidArgumentError: StatusCode.INVALID_ARGUMENT,
    errors.UnknownCommandError: StatusCode.UNIMPLEMENTED,
    errors.NotFoundError: StatusCode.NOT_FOUND,
    errors.NotAuthorizedError: StatusCode.PERMISSION_DENIED,
    errors.NotPermittedError: StatusCode.PERMISSION_DENIED,
    errors.ModuleNotEnabledError: StatusCode.FAILED_PRECONDITION,
    errors.ModuleNotReadyError: StatusCode.UNAVAILABLE,
    errors.ModuleFailedError: StatusCode.FAILED_PRECONDITION,
    errors.OverloadedError: StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceededError: StatusCode.DEADLINE_EXCEEDED,
    errors.ReportRefusedError: StatusCode.INVALID_ARGUMENT,
    errors.ReportLimitError: StatusCode.RESOURCE_EXHAUSTED,
    errors.ReplacedError: StatusCode.ALREADY_EXISTS,
}

FIELDS: Final[dict[type[MgrError], tuple[str, ...]]] = {
    NotActiveError: ("active_address", "active_name", "term", "age_s"),
    errors.FencedError: ("key", "term"),
    errors.MayHaveRunError: ("term",),
    errors.ReportRefusedError: ("rule",),
}
"""Attributes that travel as ``ErrorInfo.metadata`` under their own names."""

NUMERIC: Final[dict[str, type[int | float]]] = {"term": int, "age_s": float}
"""Those of them that are no texts; 0 travels as nothing."""

BARE: Final[dict[StatusCode, type[MgrError]]] = {
    StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    StatusCode.INVALID_ARGUMENT: errors.InvalidArgumentError,
    # The connection broke, or somebody cut the call off: what was sent may have run.
    StatusCode.UNAVAILABLE: errors.OutcomeUnknownError,
    StatusCode.CANCELLED: errors.OutcomeUnknownError,
    StatusCode.RESOURCE_EXHAUSTED: errors.OverloadedError,
}
"""What a status without our ``ErrorInfo`` means: it came from gRPC itself, on either side."""

NEVER_SENT: Final = ("failed to connect", "DNS resolution failed", "connections to all backends")
"""How gRPC's own texts begin when a call did not leave this machine. Any other: it may have."""
HANDSHAKE: Final = "Tls handshake failed"
CLOSED: Final = "Socket closed"
"""All that gRPC says of a server that hangs up because it wants TLS, or a certificate."""

MESSAGE_BYTES_MAX: Final = 1600
FIELD_BYTES_MAX: Final = 400
"""A status travels twice in the trailers, once percent-encoded; clients take 8 KiB in all."""

_NUMBERS: Final[dict[int, StatusCode]] = {code.value[0]: code for code in StatusCode}


def code_of(error: MgrError) -> StatusCode:
    """Return the code an error leaves this process with: its own or its parent's."""
    return next(CODES[family] for family in type(error).__mro__ if family in CODES)


def status_of(error: MgrError) -> status_pb2.Status:
    """Put an error into the form in which it travels."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={
            name: _short(str(getattr(error, name) or ""), FIELD_BYTES_MAX)
            for name in _fields(type(error))
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
    """Turn a failed call back into the error that the manager raised.

    A failure of gRPC itself (nobody listens, the deadline passed, a message was too large)
    becomes the class of the same meaning.
    """
    status = _status_in(failed)
    return error_in(status) if status else _bare(failed.code(), failed.details() or "")


def from_manager(failed: grpc.aio.AioRpcError) -> bool:
    """Whether a manager said this, not gRPC on either side or something between."""
    status = _status_in(failed)
    return status is not None and _info_in(status) is not None


def error_in(status: status_pb2.Status) -> MgrError:
    """Read the error out of a status that arrived as a message."""
    info = _info_in(status)
    if info is not None:
        return _rebuilt(info, status.message)
    return _bare(_NUMBERS.get(status.code, StatusCode.UNKNOWN), status.message)


def families(root: type[MgrError] = MgrError) -> Iterator[type[MgrError]]:
    """Yield every error class of the product, the root first."""
    yield root
    for child in root.__subclasses__():
        yield from families(child)


def _fields(family: type[MgrError]) -> tuple[str, ...]:
    return next((FIELDS[parent] for parent in family.__mro__ if parent in FIELDS), ())


def _status_in(failed: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in failed.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None  # not ours: judged by its code
    return None


def _info_in(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None


def _rebuilt(info: error_details_pb2.ErrorInfo, message: str) -> MgrError:
    family = next((known for known in families() if known.reason == info.reason), None)
    if family is None or family is MgrError:
        # A newer manager's reason, or INTERNAL: the root of the family is never raised itself.
        return errors.InternalError(message)
    fields = _fields(family)
    if not fields:
        return family(message)
    # Past __init__: these constructors compose messages, and this message is composed already.
    error = family.__new__(family)
    Exception.__init__(error, message)
    for name in fields:
        text = info.metadata.get(name, "")
        number = NUMERIC.get(name)
        setattr(error, name, text if number is None else number(text or 0))
    if isinstance(error, NotActiveError):
        error.active_address = error.active_address or None
    return error


def _bare(code: StatusCode, details: str) -> MgrError:
    if code is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return errors.TooLargeError(f"message above the limit: {details}")
    if code is StatusCode.UNAVAILABLE and details.startswith(NEVER_SENT):
        return errors.UnreachableError(_why_not_sent(details))
    family = BARE.get(code, errors.InternalError)
    return family(details or code.name.lower().replace("_", " "))


def _why_not_sent(details: str) -> str:
    """What gRPC says last, which is what the operating system or OpenSSL said."""
    details = details.removesuffix(": OK")  # so it ends where certificates do not fit
    why = details.rpartition(": ")[2]
    if HANDSHAKE in details:
        return f"{HANDSHAKE}: {why}"
    if why == CLOSED:
        return f"{why}: TLS on one side only, or a certificate that is missing?"
    return why


def _short(text: str, limit: int) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[:limit].decode(errors="ignore") + "…"
