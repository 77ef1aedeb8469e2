"""Acts outside every 20 ms and asks nobody whether it may, as modules written for ceph-mgr do."""

import contextlib
import os
import signal
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

from mgr_module import CLIReadCommand, CLIWriteCommand, HandleCommandResult, MgrModule, Option

PERIOD_S = 0.02
LONG_ANSWER = 60_000
HELPER = "lab-helper"
"""The name of a forked process, by which a test tells it from its worker."""
FAIL_AFTER = "fail-after"
"""Constructing fails in every term after the stored one."""


class Module(MgrModule):
    """``EFFECTS`` is left as it is: who says nothing acts outside."""

    MODULE_OPTIONS = (Option("ticks", default="", runtime=True),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        after = self.get_store(FAIL_AFTER)
        if after is not None and self.get_term() > int(after):
            raise RuntimeError(f"not in a term after {after}")
        self._instance = uuid.uuid4().hex[:8]
        self._stop = threading.Event()
        self._stubborn = False

    def serve(self) -> None:
        """Act until asked to stop, and longer if it was made stubborn."""
        term = self.get_term()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
            while not self._stop.wait(PERIOD_S) or self._stubborn:
                if self._stop.is_set():
                    signal.sigtimedwait([], PERIOD_S)
                _tick(outside, self._place, term, f"serve/{self._instance}")

    def shutdown(self) -> None:
        """Ask ``serve`` to stop."""
        self._stop.set()

    @CLIWriteCommand("ticker stubborn")
    def stubborn(self) -> HandleCommandResult:
        """From now on do not stop when asked."""
        self._stubborn = True
        return HandleCommandResult()

    @CLIWriteCommand("ticker help")
    def help(self, how: str) -> HandleCommandResult:
        """Fork a process that acts on in this term, with every open file of this one.

        ``how``: ``plain``, ``setsid`` (in a session of its own) or ``double`` (forked twice).
        """
        term, place = self.get_term(), self._place
        if os.fork() == 0:
            _be_a_helper(how, place, term)
        return HandleCommandResult()

    @CLIWriteCommand("ticker fail")
    def fail(self) -> HandleCommandResult:
        """Let the constructor fail in every term after this one."""
        self.set_store(FAIL_AFTER, str(self.get_term()))
        return HandleCommandResult()

    @CLIWriteCommand("ticker count")
    def count(self, token: str, then: str) -> HandleCommandResult:
        """Count ``token``, then ``answer`` or ``die``. Deliberately not idempotent."""
        counted = int(self.get_store(f"token/{token}") or 0) + 1
        self.set_store(f"token/{token}", str(counted))
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return HandleCommandResult(stdout=str(counted))

    @CLIWriteCommand("ticker long")
    def long(self) -> HandleCommandResult:
        """Change nothing, and answer at length."""
        return HandleCommandResult(stdout="x" * LONG_ANSWER)

    @CLIReadCommand("ticker counted")
    def counted(self, token: str) -> HandleCommandResult:
        """How often ``token`` was counted."""
        return HandleCommandResult(stdout=self.get_store(f"token/{token}") or "0")

    @property
    def _place(self) -> str:
        return str(self.get_module_option("ticks") or "")


def _tick(outside: socket.socket, place: str, term: int, who: str) -> bool:
    """Do something outside; False if nobody is there any more."""
    if place:
        try:
            outside.sendto(f"{term} {who}".encode(), place)
        except OSError:
            return False
    return True


def _be_a_helper(how: str, place: str, term: int) -> None:
    """Act for ever, as the child of a fork. Returns never.

    It ends by itself when there is nobody to act on: no test leaves it behind.
    """
    try:
        if how != "plain":
            os.setsid()
        if how == "double" and os.fork():
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(HELPER)
        who = f"helper/{how}/{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
            while _tick(outside, place, term, who):
                signal.sigtimedwait([], PERIOD_S)
    finally:
        # Not by os._exit, from which the worker keeps its modules.
        os.kill(os.getpid(), signal.SIGKILL)
