"""Messages between a worker and the process of a module: their form, and what may be in them.

A message is a tuple, pickled, behind its length. Both sides send plain values only: numbers, texts,
bytes, dictionaries, lists, tuples and sets. A subclass of one of these (an ``IntEnum``, a named
tuple, a document) is sent as the plain value that it is. So reading a message never imports
anything: no code of a module gets into the worker by it. What modules pass to each other
(``remote``) is pickled apart and travels as bytes.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from mgr.tracing import TraceContext, current, parse

HEADER: Final = struct.Struct("=I")
"""The length of what follows."""
MESSAGE_BYTES_MAX: Final = 64 << 20
"""Limit of one message. A module's database, at most 32 MiB, is the largest thing sent."""
PROTOCOL: Final = 5
PACKET_BYTES_MAX: Final = 4096
FDS_MAX: Final = 5
"""Limits of one packet between a worker and a zygote."""

QUICK_MAX: Final = 200
"""Values of a message up to which each is looked at first: then it is pickled in one step."""

_LEAVES: Final = frozenset({bool, int, float, str, bytes, type(None)})
_LISTS: Final = frozenset({tuple, list, set, frozenset})
_PLAIN: Final = (bool, int, float, str, bytes, bytearray, dict, list, tuple, set, frozenset)
_NAMES: Final = frozenset(kind.__name__ for kind in _PLAIN)


class Kind(IntEnum):
    """What a message is."""

    CALL = 1
    """Answered by ``RESULT`` or ``FAILURE`` of the same number; the body is of ``call_body``."""
    RESULT = 2
    FAILURE = 3
    """The body is what ``mgr.module_process.failures`` made of an exception."""
    NOTE = 4
    """Not answered. The body is a name, and arguments."""


class Message(NamedTuple):
    """One message. Each side numbers its own calls.

    Attributes:
        after: The number of notes that the worker had sent before: they are handled before it.

    """

    kind: int
    number: int
    body: Any
    after: int = 0


class MessageTooLargeError(ValueError):
    """A message is above ``MESSAGE_BYTES_MAX``. It was not sent."""


class _PlainPickler(pickle.Pickler):
    """Pickles plain values; called for everything that is not exactly of a plain type."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type) and value in _TYPES:
            return NotImplemented
        if isinstance(value, str):
            return str, (str.__str__(value),)
        kind: Any
        for kind in _PLAIN:
            if isinstance(value, kind):
                return kind, (kind(value),)
        raise TypeError(
            f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot be passed "
            "to another process: pass numbers, texts, bytes, dictionaries, lists, tuples or sets"
        )


_TYPES: Final = frozenset(_PLAIN)


class _PlainUnpickler(pickle.Unpickler):
    """Refuses everything that would be imported."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in _NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a message contains {module}.{name}")


def dumps(value: Any) -> bytes:
    """Pickle a plain value.

    Raises:
        TypeError: It contains something that is not plain; the text names its type.

    """
    if _is_small_and_plain(value):
        # A tenth of the time: most messages are small, and each command has two.
        return pickle.dumps(value, PROTOCOL)
    buffer = io.BytesIO()
    _PlainPickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def _is_small_and_plain(value: Any) -> bool:
    """Whether ``value`` is made of few values, each exactly of a plain type."""
    found = [value]
    for each in found:
        kind = type(each)
        if kind in _LEAVES:
            continue
        if kind in _LISTS:
            found.extend(each)
        elif kind is dict:
            found.extend(each)
            found.extend(each.values())
        else:
            return False
        if len(found) > QUICK_MAX:
            return False
    return True


def loads(content: bytes | memoryview) -> Any:
    """Read what ``dumps`` wrote.

    Raises:
        pickle.UnpicklingError: It contains something that is not plain.

    """
    return _PlainUnpickler(io.BytesIO(content)).load()


def encode(kind: Kind, number: int, body: Any, after: int = 0) -> bytes:
    """Return a message with its length.

    Raises:
        TypeError: ``body`` contains something that is not plain.
        MessageTooLargeError: It is too large.

    """
    content = dumps((int(kind), number, body, after))
    if len(content) > MESSAGE_BYTES_MAX:
        raise MessageTooLargeError(
            f"a message of {len(content)} bytes is above the limit of {MESSAGE_BYTES_MAX} bytes "
            "between a module's process and the manager"
        )
    return HEADER.pack(len(content)) + content


def call_body(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the body of a call: name, arguments and, if there is one, the trace context."""
    trace = current()
    return (name, args) if trace is None else (name, args, tuple(trace))


def trace_in(rest: Sequence[Any]) -> TraceContext | None:
    """Return the trace context of a call from what its body has beyond name and arguments."""
    return parse(*rest[0]) if rest else None


def announced_length(buffer: bytes | bytearray) -> int:
    """Return the length of the message that ``buffer`` begins.

    Raises:
        MessageTooLargeError: It is too large.

    """
    length: int = HEADER.unpack_from(buffer)[0]
    if length > MESSAGE_BYTES_MAX:
        raise MessageTooLargeError(f"a message of {length} bytes was announced")
    return length


def decode(content: bytes) -> Message:
    """Return the message that ``encode`` made ``content`` of, which is without its length.

    Raises:
        pickle.UnpicklingError: It contains something that is not plain.

    """
    return Message(*loads(content))


class MessageBuffer:
    """Puts together the messages of a byte stream."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, received: bytes | memoryview) -> Iterator[Message]:
        """Add ``received``; yield every message that is complete now.

        Raises:
            MessageTooLargeError: The next message is announced as too large.
            pickle.UnpicklingError: A message contains something that is not plain.

        """
        self._bytes += received
        while len(self._bytes) >= HEADER.size:
            end = HEADER.size + announced_length(self._bytes)
            if len(self._bytes) < end:
                return
            content = bytes(memoryview(self._bytes)[HEADER.size : end])
            del self._bytes[:end]
            yield decode(content)
