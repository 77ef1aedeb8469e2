"""Makes random inputs out of valid ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

LENGTH_MAX = 4096
TEXTS = (
    "\0", "\n", "\x1b[2J", "\u202e", "é", "٣", "=", ",", "|", "--", "[", "{", '"', "\\",
    "0x", "1e999", "-1", "9" * 50, " ", "*", "(", ")+", "a" * 300,
)  # fmt: skip
BYTES = (
    b"\x00",
    b"\xff",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x0a\x7f",
    b"\x1b",
    b"[" * 200,
)


class Mutator:
    """Changes samples at random; the same seed gives the same inputs."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)

    def text(self, samples: Sequence[str]) -> str:
        """One of ``samples`` with a few changes."""
        text = self._random.choice(samples)
        for _ in range(self._random.choice((0, 1, 1, 2, 4, 8))):
            at, end = sorted(self._random.randrange(len(text) + 1) for _ in range(2))
            change = self._random.randrange(5)
            if change == 0:
                text = text[:at] + self._random.choice(TEXTS) + text[at:]
            elif change == 1:
                text = text[:at] + text[end:]
            elif change == 2:
                text = text[:at] + text[at:end] * self._random.choice((2, 3, 30)) + text[end:]
            elif change == 3:
                text = text[:at] + self._random.choice(samples) + text[end:]
            else:
                text = text[:at] + chr(self._random.randrange(0x2FF)) + text[at + 1 :]
        return text[:LENGTH_MAX]

    def data(self, samples: Sequence[bytes]) -> bytes:
        """The same of bytes."""
        data = self._random.choice(samples)
        for _ in range(self._random.choice((0, 1, 1, 2, 4, 8))):
            at, end = sorted(self._random.randrange(len(data) + 1) for _ in range(2))
            change = self._random.randrange(4)
            if change == 0:
                data = data[:at] + self._random.choice(BYTES) + data[at:]
            elif change == 1:
                data = data[:at] + data[end:]
            elif change == 2:
                data = data[:at] + data[at:end] * 2 + data[end:]
            else:
                data = data[:at] + bytes([self._random.randrange(256)]) + data[at + 1 :]
        return data[:LENGTH_MAX]
