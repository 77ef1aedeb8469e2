"""Frames of the local socket: what a program and the manager of its host write to each other.

A frame is a header and a message of ``command.proto`` or ``manager.proto``. The header of a request
holds the length of the message, a number that the client chooses, the kind of the request, and for
how many milliseconds the client waits; that of an answer the length, the same number, and whether
the message is the response or a ``google.rpc.Status``. Answers may overtake each other. The first
frame of a connection comes from the manager: its name. A frame that is not complete is never run,
so a client whose write failed knows that nothing ran.

Both ends import this file. It does not import grpc: that takes a tenth of a second, which is most
of what a short program would cost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

REQUEST: Final = struct.Struct("<IQBI")
"""Length of the message, number, ``Kind``, milliseconds that the client waits; 0: for ever."""
ANSWER: Final = struct.Struct("<IQB")
"""Length of the message, number, ``Outcome``."""
WAIT_MS_MAX: Final = (1 << 32) - 1


class Kind(IntEnum):
    """The kind of a request, and the message that it carries."""

    EXECUTE = 1
    """``ExecuteRequest``; answered by ``ExecuteResponse``."""
    CANCEL = 2
    """Nothing: the client waits no longer for the request of this number. It has no answer."""
    DESCRIBE = 3
    """``DescribeCommandsRequest``; answered by ``DescribeCommandsResponse``."""
    STATUS = 4
    """``GetStatusRequest``; answered by ``GetStatusResponse``."""


class Outcome(IntEnum):
    """What an answer carries."""

    RESPONSE = 0
    STATUS = 1
    """A ``google.rpc.Status``, as a gRPC call would have failed with. Of number 0: it concerns the
    connection, which ends."""
    NAME = 2
    """The manager's name as text, of number 0: the first frame of a connection."""


class FrameTooLargeError(Exception):
    """A header announces a message above the limit. What follows it cannot be found."""


class FrameReader:
    """Cuts what arrives into frames."""

    def __init__(self, header: struct.Struct, message_bytes_max: int) -> None:
        """Expect frames that begin with ``header`` and have a message of a limited size."""
        self._header = header
        self._message_bytes_max = message_bytes_max
        self._held = bytearray()

    @property
    def held_bytes(self) -> int:
        """How much of an incomplete frame is kept."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """Yield the frames that ``data`` completes: the header without the length, the message.

        Raises:
            FrameTooLargeError: A message is above the limit.

        """
        # What is incomplete is extended in place. To join it again for each packet would cost the
        # square of a message's size, if its sender takes its time.
        held = self._held
        source: bytes | bytearray = data
        if held:
            held += data
            source = held
        header, begin, size = self._header, 0, len(source)
        try:
            while size - begin >= header.size:
                length, *fields = header.unpack_from(source, begin)
                if length > self._message_bytes_max:
                    raise FrameTooLargeError
                end = begin + header.size + length
                if end > size:
                    break
                message = bytes(source[begin + header.size : end])
                begin = end
                yield tuple(fields), message
        finally:
            if source is held:
                del held[:begin]
            else:
                held += data[begin:]
