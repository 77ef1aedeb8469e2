"""Frames of HTTP/2 as no library sends them: headers before the settings are acknowledged."""

from __future__ import annotations

import struct

FRAME_BYTES = 16 << 10
HEADERS, CONTINUATION = 1, 9


def frame(kind, flags, stream, payload=b""):
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value, *, indexed=False):
    """One header of less than 127 bytes; an ``indexed`` one can be sent again as ``AGAIN``."""
    parts = bytes([len(name)]), name, bytes([len(value)]), value
    return (b"\x40" if indexed else b"\x00") + b"".join(parts)


AGAIN = b"\xbe"
"""The header that was indexed last."""


def request(path, headers):
    """The headers of a call, and ``headers`` more, each of which is a byte."""
    names = {":method": "POST", ":scheme": "https", ":path": path, ":authority": "a"}
    names |= {"content-type": "application/grpc", "te": "trailers"}
    block = b"".join(literal(name.encode(), value.encode()) for name, value in names.items())
    return block + literal(b"x", b"", indexed=True) + AGAIN * headers


def headers_frames(stream, block):
    """The frames of a header block."""
    parts = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
    return b"".join(
        frame(CONTINUATION if number else HEADERS, 4 * (number == len(parts) - 1), stream, part)
        for number, part in enumerate(parts)
    )


def frames_in(data):
    """The kinds of the frames in ``data``."""
    kinds, at = [], 0
    while at + 9 <= len(data):
        kinds.append(data[at + 3])
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    return kinds
