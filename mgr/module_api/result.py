"""Results of commands."""

from __future__ import annotations

import threading
from typing import NamedTuple


class HandleCommandResult(NamedTuple):
    """The result of a command handler.

    Attributes:
        retval: 0, or a negative errno.
        stdout: Data, for programs.
        stderr: Status text, for people: why it failed, or what was done.

    """

    retval: int = 0
    stdout: str = ""
    stderr: str = ""


class CommandResult:
    """Receives the result of a command that ``send_command`` started."""

    def __init__(self, tag: str | None = None) -> None:
        self.ev = threading.Event()
        self.outs = ""
        self.outb = ""
        self.r = 0
        self.tag = tag or ""

    def complete(self, r: int, outb: str, outs: str) -> None:
        """Set the result (return value, data, status text) and wake up all waiters."""
        self.r = r
        self.outb = outb
        self.outs = outs
        self.ev.set()

    def wait(self) -> tuple[int, str, str]:
        """Wait for the result, without limit; return value, data and status text."""
        self.ev.wait()
        return self.r, self.outb, self.outs


class MonCommandFailed(RuntimeError):  # noqa: N818 - Ceph's name
    """A command run by ``check_mon_command`` failed; the message contains its status text."""
