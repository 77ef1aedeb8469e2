"""Errors as ``google.rpc.Status`` messages, without gRPC: one ``ErrorInfo`` holds all of an error.

``mgr.rpc.status`` adds what gRPC needs beside it: codes and trailers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.rpc import error_details_pb2, status_pb2

from mgr import errors
from mgr.errors import MgrError, NotActiveError

DOMAIN: Final = "mgr.rpc.v1"

FIELDS: Final[dict[type[MgrError], tuple[str, ...]]] = {
    NotActiveError: ("active_address", "active_name", "term", "age_s"),
    errors.FencedError: ("key", "term"),
    errors.MayHaveRunError: ("term",),
    errors.ReportRefusedError: ("rule",),
}
"""Attributes that are sent as ``ErrorInfo.metadata`` under their own names."""

NUMERIC: Final[dict[str, type[int | float]]] = {"term": int, "age_s": float}
"""Types of those attributes that are numbers; 0 is sent as an empty string."""


def families(root: type[MgrError] = MgrError) -> Iterator[type[MgrError]]:
    """Yield every error class of the product, the root first."""
    yield root
    for child in root.__subclasses__():
        yield from families(child)


def fields_of(family: type[MgrError]) -> tuple[str, ...]:
    """Return the attributes of this class that are sent."""
    return next((FIELDS[parent] for parent in family.__mro__ if parent in FIELDS), ())


def info_in(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    """Return our ``ErrorInfo`` in ``status``; None if it has none, so that it is not ours."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None


def rebuilt(info: error_details_pb2.ErrorInfo, message: str) -> MgrError:
    """Return the error that a manager raised."""
    family = next((known for known in families() if known.reason == info.reason), None)
    if family is None or family is MgrError:
        # A reason of a newer version, or INTERNAL: MgrError itself is never raised.
        return errors.InternalError(message)
    fields = fields_of(family)
    if not fields:
        return family(message)
    # Without __init__: these constructors compose the message, which is complete already.
    error = family.__new__(family)
    Exception.__init__(error, message)
    for name in fields:
        text = info.metadata.get(name, "")
        number = NUMERIC.get(name)
        setattr(error, name, text if number is None else number(text or 0))
    if isinstance(error, NotActiveError):
        error.active_address = error.active_address or None
    return error
