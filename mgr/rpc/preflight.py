"""Counts the fields of a message before it is decoded.

A mebibyte can hold half a million words or values. Decoding them takes forty times their size in
memory, and the number is known only afterwards. So the length-delimited fields are walked first,
which stops at the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from mgr.rpc.v1 import cluster_pb2, command_pb2

Containers: TypeAlias = Mapping[int, Any]
"""Numbers of the fields whose own fields are counted as well; the values are again containers."""
Check: TypeAlias = Callable[[bytes], None]

SMALL_BYTES: Final = 4096
"""A message of at most so many bytes is not walked."""
COMMAND_FIELDS_MAX: Final = 8192
REPORT_FIELDS_MAX: Final = 20_000
"""Limit of the fields of a message of a daemon, which may declare thousands of counters at once."""
ARGUMENTS_BYTES_MAX: Final = 256 << 10
"""Limit of the typed arguments of one command: they may be lists of short values."""

_VARINT, _BITS64, _BYTES, _BITS32 = 0, 1, 2, 5
_FIXED: Final = {_BITS64: 8, _BITS32: 4}


class TooManyFieldsError(Exception):
    """There are more fields, or more bytes in arguments, than the limit."""


def check_execute(data: bytes) -> None:
    """Check a serialized ``ExecuteRequest``."""
    _Walk(data, COMMAND_FIELDS_MAX).message(0, len(data), {}, _ARGUMENTS)


def check_session(data: bytes) -> None:
    """Check a serialized ``SessionRequest``."""
    _Walk(data, COMMAND_FIELDS_MAX).message(0, len(data), _SESSION)


def check_report(data: bytes) -> None:
    """Check a serialized ``ReportRequest``."""
    _Walk(data, REPORT_FIELDS_MAX).message(0, len(data), _REPORT)


class _Walk:
    """Walks the fields of one message. What is malformed is left to the decoder to refuse."""

    def __init__(self, data: bytes, fields_max: int) -> None:
        self._data = data
        self._left = fields_max
        self._argument_bytes = 0

    def message(self, at: int, end: int, containers: Containers, arguments: int = 0) -> None:
        data = self._data
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise TooManyFieldsError
            tag, at = self._varint(at, end)
            kind = tag & 7
            if kind == _BYTES:
                size, at = self._varint(at, end)
                number = tag >> 3
                if number == arguments:
                    self._argument_bytes += size
                    if self._argument_bytes > ARGUMENTS_BYTES_MAX:
                        raise TooManyFieldsError
                elif number in containers:
                    inner = containers[number]
                    is_command = inner is _EXECUTE
                    self.message(at, min(at + size, end), inner, _ARGUMENTS if is_command else 0)
                at += size
            elif kind == _VARINT:
                while at < end and data[at] & 0x80:
                    at += 1
                at += 1
            elif kind in _FIXED:
                at += _FIXED[kind]
            else:
                raise TooManyFieldsError  # a group: no message of ours has one

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end:
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
            if shift > 63:
                raise TooManyFieldsError
        return value, end


def _numbered(message: Any, names: Mapping[str, Any]) -> Containers:
    """Return ``names``, fields of ``message`` to any depth, as numbers."""
    fields = message.fields_by_name
    return {
        fields[name].number: inner
        if inner is _EXECUTE
        else _numbered(fields[name].message_type, inner)
        for name, inner in names.items()
    }


_EXECUTE: Final[Containers] = {}
"""The containers of an ``ExecuteRequest``: none; its arguments are limited by their size."""
_ARGUMENTS: Final[int] = command_pb2.ExecuteRequest.DESCRIPTOR.fields_by_name["arguments"].number
_SESSION: Final = _numbered(command_pb2.SessionRequest.DESCRIPTOR, {"execute": _EXECUTE})
_REPORT: Final = _numbered(
    cluster_pb2.ReportRequest.DESCRIPTOR,
    {
        "open": {},
        "declare": {},
        "report": {"status": {}, "task_status": {}, "health_metrics": {}, "devices": {}},
        "call": {"execute": _EXECUTE},
    },
)
CHECKS: Final[Mapping[str, Check]] = {
    "/mgr.rpc.v1.CommandService/Execute": check_execute,
    "/mgr.rpc.v1.CommandService/Session": check_session,
    "/mgr.rpc.v1.ClusterService/Report": check_report,
}
"""The check of each method whose messages have repeated fields."""
