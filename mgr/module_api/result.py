"""What commands give back."""

from __future__ import annotations

import threading
from typing import NamedTuple


class HandleCommandResult(NamedTuple):
    """The answer of a command handler.

    Attributes:
        retval: 0, or a negative errno.
        stdout: Data, for programs.
        stderr: Words, for people: why it failed, or what was done.

    """

    retval: int = 0
    stdout: str = ""
    stderr: str = ""


class CommandResult:
    """A place for the answer of a command that runs elsewhere."""

    def __init__(self, tag: str | None = None) -> None:
        self.ev = threading.Event()
        self.outs = ""
        self.outb = ""
        self.r = 0
        self.tag = tag or ""

    def complete(self, r: int, outb: str, outs: str) -> None:
        """Put the answer in: return value, data, words. Whoever waits goes on."""
        self.r = r
        self.outb = outb
        self.outs = outs
        self.ev.set()

    def wait(self) -> tuple[int, str, str]:
        """Wait for the answer, without limit: return value, data, words."""
        self.ev.wait()
        return self.r, self.outb, self.outs


class MonCommandFailed(RuntimeError):  # noqa: N818 - Ceph's name
    """A command that was checked said no; the message holds its words."""
