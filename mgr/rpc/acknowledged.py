"""Holds back what an HTTP/2 client sends until it has acknowledged the server's settings.

gRPC applies its limit of headers to clients that have acknowledged it. Until then it takes 16 MiB
for each call, in half a million headers if the client likes, which become ten times as much memory
before anything of ours is asked.
"""

from __future__ import annotations

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD_BYTES: Final = 9
FRAME_BYTES_MAX: Final = 16 << 10
"""Limit of a frame until the server allows a larger one, which it does in its settings."""
UNACKNOWLEDGED_BYTES_MAX: Final = 128 << 10
"""A client may send requests with 64 KiB of data before it has read the server's settings."""
SETTINGS: Final = 4
ACK: Final = 1


class NotAcknowledgedError(Exception):
    """The client speaks no HTTP/2, or sends too much before it acknowledges the settings."""


class AcknowledgedFirst:
    """The bytes of one client. ``acknowledged`` says that all further ones may pass."""

    def __init__(self) -> None:
        """Begin before the first byte."""
        self.acknowledged = False
        self._received = bytearray()
        self._held = bytearray()
        self._begun = False
        self._total = 0

    def feed(self, data: bytes) -> bytes:
        """Return what may pass to the server, now that ``data`` arrived.

        Settings pass at once; the acknowledgement passes before whatever was sent ahead of it.

        Raises:
            NotAcknowledgedError: The connection is to be closed.

        """
        if self.acknowledged:
            return data
        self._received += data
        self._total += len(data)
        passed = bytearray()
        if not self._begun:
            if self._received[: len(PREFACE)] != PREFACE[: len(self._received)]:
                raise NotAcknowledgedError
            if len(self._received) < len(PREFACE):
                return b""
            passed += self._take(len(PREFACE))
            self._begun = True
        while not self.acknowledged and (frame := self._next_frame()):
            if frame[3] == SETTINGS:
                passed += frame
                self.acknowledged = bool(frame[4] & ACK)
            else:
                self._held += frame
        if not self.acknowledged and self._total > UNACKNOWLEDGED_BYTES_MAX:
            raise NotAcknowledgedError
        if self.acknowledged:
            passed += self._held + self._received
            self._held.clear()
            self._received.clear()
        return bytes(passed)

    def _next_frame(self) -> bytes:
        """Return the next frame; nothing if it is not complete."""
        if len(self._received) < FRAME_HEAD_BYTES:
            return b""
        size = int.from_bytes(self._received[:3], "big")
        if size > FRAME_BYTES_MAX:
            raise NotAcknowledgedError
        if len(self._received) < FRAME_HEAD_BYTES + size:
            return b""
        return self._take(FRAME_HEAD_BYTES + size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken
