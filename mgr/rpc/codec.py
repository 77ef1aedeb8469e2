"""Conversion of arguments to ``Value`` messages and back, and of durations. Used on both ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from mgr.errors import InvalidArgumentError
from mgr.rpc.v1.command_pb2 import Value, ValueList
from mgr.text import shortened

INTEGER_MAX: Final = (1 << 63) - 1
NAME_CHARS_MAX: Final = 64
"""Characters of an argument's name that an error repeats."""
VALUES_MAX: Final = 4096
"""Limit of the values in the arguments of one request, those of lists included."""


def value_of(name: str, value: object) -> Value:
    """Convert one argument to its message.

    Raises:
        InvalidArgumentError: Its type is none that a command accepts: text, integer, real,
            boolean, or a list of these.

    """
    # bool first: it is a subclass of int, and commands distinguish the two.
    if isinstance(value, bool):
        return Value(truth=value)
    if isinstance(value, int):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise InvalidArgumentError(f"{name}: {value} does not fit into 64 bits")
        return Value(integer=value)
    if isinstance(value, float):
        return Value(real=value)
    if isinstance(value, str):
        try:
            return Value(text=value)
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"{name}: not encodable as UTF-8") from None
    if isinstance(value, (list, tuple)):
        return Value(list=ValueList(values=[value_of(name, each) for each in value]))
    raise InvalidArgumentError(f"{name}: a {type(value).__name__} cannot be an argument")


def arguments_in(messages: Mapping[str, Value]) -> dict[str, Any]:
    """Convert the arguments of a request.

    Raises:
        InvalidArgumentError: One of them has no value, or there are more than ``VALUES_MAX``.

    """
    if len(messages) > VALUES_MAX:
        raise _too_many_error()
    room = [VALUES_MAX]
    return {name: _value_in(name, message, room) for name, message in messages.items()}


def _value_in(name: str, message: Value, room: list[int]) -> Any:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgumentError(
            f"{shortened(name, NAME_CHARS_MAX)}: an argument without a value"
        )
    room[0] -= 1
    if kind == "list":
        if len(message.list.values) > room[0]:
            raise _too_many_error()
        return [_value_in(name, each, room) for each in message.list.values]
    return getattr(message, kind)


def _too_many_error() -> InvalidArgumentError:
    return InvalidArgumentError(f"more than {VALUES_MAX} values in the arguments of a request")


def span(seconds: float) -> Duration:
    """Convert seconds to a ``Duration``."""
    message = Duration()
    message.FromNanoseconds(int(seconds * 1e9))
    return message
