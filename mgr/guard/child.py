"""The worker as a process: told, listened to, killed with its group, and reaped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import Final

import msgspec

from mgr.guard.crew import Listener
from mgr.guard.spawn import Spawned
from mgr.link import LINE_BYTES_MAX, Begin, Message, encode, from_worker

RECEIVE_BYTES: Final = 1 << 16
OUTBOX_BYTES_MAX: Final = 1 << 20
"""What is kept for a worker that does not read. Beyond, it is not told any more: it is frozen,
and the watchdog's business."""
DUMP_SIGNAL: Final = signal.SIGUSR1
"""On this signal a worker writes all its threads' stacks to its log, from C."""

log = logging.getLogger(__name__)


class Child:
    """One worker process. Its end is known at once, by pidfd, and for certain, by reaping.

    It leads a process group of its own: the helpers its modules start die with it, and a
    terminal's Ctrl-C reaches the guard alone. A helper that leaves the group is not found.
    """

    def __init__(self, spawned: Spawned, begin: Begin, listener: Listener) -> None:
        """Take over what was spawned and say ``begin``. On the loop's thread."""
        self.incarnation = begin.incarnation
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._inbox = b""
        self._outbox = bytearray()
        self._process, self._link = spawned
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._link.setblocking(False)  # noqa: FBT003 - the name of the parameter is "flag"
        self._loop.add_reader(self._pidfd, self._ended)
        self._loop.add_reader(self._link, self._readable)
        self.tell(begin)

    def tell(self, message: Message) -> None:
        """Send ``message``; never waits. A worker that is gone or frozen hears nothing."""
        if self._link.fileno() < 0 or len(self._outbox) > OUTBOX_BYTES_MAX:
            return
        self._outbox += encode(message)
        self._writable()

    def dump_stacks(self) -> None:
        """Let it write every thread's stack to its log; works while the interpreter is stuck."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, DUMP_SIGNAL)

    def kill(self) -> None:
        """Kill it and its process group; ``gone`` follows. Nothing if it is gone already."""
        if self._link.fileno() >= 0:
            self._kill_group()

    def _ended(self) -> None:
        # What it said last comes before the news of its death.
        while self._readable():
            pass
        # Not reaped yet, its id still names this group and no other. The helpers of its modules
        # must be dead before anybody can read in the fence record that nothing acts any more.
        self._kill_group()
        status = self._process.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._hang_up()
        self._listener.gone(described(status))

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _readable(self) -> bool:
        try:
            received = self._link.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            received = b""
        if not received:
            self._loop.remove_reader(self._link)
            return False
        *lines, self._inbox = (self._inbox + received).split(b"\n")
        for line in lines:
            self._hear(line)
        if len(self._inbox) > LINE_BYTES_MAX:
            log.error("a line without an end from the worker: killed", extra={"pid": self.pid})
            self._inbox = b""
            self.kill()
        return True

    def _hear(self, line: bytes) -> None:
        try:
            message = from_worker(line)
        except msgspec.MsgspecError:
            # A bug, here or there: not a worker to lead with.
            log.exception("unreadable line from the worker: killed", extra={"pid": self.pid})
            self.kill()
        else:
            self._listener.said(message)

    def _writable(self) -> None:
        try:
            sent = self._link.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            # It hung up. That it is gone is told by the pidfd, not by this.
            sent = len(self._outbox)
        del self._outbox[:sent]
        if self._outbox:
            self._loop.add_writer(self._link, self._writable)
        else:
            self._loop.remove_writer(self._link)

    def _hang_up(self) -> None:
        self._loop.remove_reader(self._link)
        self._loop.remove_writer(self._link)
        self._link.close()


def described(status: int) -> str:
    """Put an exit status into words: ``exit status 3``, ``SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
