"""Writes log lines to a file descriptor without ever making the caller wait for its reader.

Standard error is often a pipe, and several managers may share one. If its reader stops, the pipe
fills up and a plain write blocks: the event loop of every process that logs would stand still. So
a line that cannot be written at once goes into a bounded queue, which one thread empties. When the
queue is full, lines are dropped and counted (docs/adr/0058).

A line is written at once, on the caller's thread, whenever that cannot block: then it is out before
anything that follows, such as a crash, happens.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import queue
import select
import weakref
from _thread import LockType
from collections.abc import Callable
from typing import Final

QUEUE_BYTES_MAX: Final = 4 << 20
"""Most bytes of lines that wait for the reader; further lines are dropped."""
DIRECT_BYTES_MAX: Final = select.PIPE_BUF
"""A pipe that is ready takes this many bytes without blocking."""


class LogWriter:
    """Writes to one file descriptor. Any thread may call it; calls must not overlap."""

    def __init__(self, fd: int, dropped_line: Callable[[int], str]) -> None:
        """Write to ``fd``; ``dropped_line`` makes the line that tells how many were dropped."""
        self._fd = fd
        self._dropped_line = dropped_line
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._jobs: queue.SimpleQueue[bytes | LockType] = queue.SimpleQueue()
        # Each is written by one side only, so neither needs a lock: callers give, the thread takes.
        self._given = self._taken = 0
        self._dropped = self._reported = 0
        self._started = False
        self._forked = False
        _writers.add(self)

    def write(self, text: str) -> None:
        """Write ``text`` now or soon; drop it if too much waits already."""
        data = text.encode(errors="backslashreplace")
        if self._forked:
            _write_all(self._fd, data)
            return
        waiting = self._given - self._taken
        if not waiting and self._dropped == self._reported and len(data) <= DIRECT_BYTES_MAX:
            data = self._write_ready(data)
            if not data:
                return
        if waiting + len(data) > QUEUE_BYTES_MAX:
            self._dropped += 1
            return
        self._given += len(data)
        self._jobs.put(data)
        if not self._started:
            # Not by ``threading``: a module may be the caller, and would count as the owner of the
            # thread (``mgr.host.bridge.track_module_threads``).
            self._started = True
            _thread.start_new_thread(self._run, ())

    def flush(self, limit_s: float) -> bool:
        """Wait until everything is written, at most ``limit_s`` seconds; False if it is not."""
        if self._given == self._taken or self._forked:
            return True
        done = _thread.allocate_lock()
        done.acquire()
        self._jobs.put(done)
        return done.acquire(timeout=limit_s)

    def after_fork_in_child(self) -> None:
        """Write directly from now on: the thread exists in the parent process only."""
        self._forked = True

    def _write_ready(self, data: bytes) -> bytes:
        """Write what the descriptor takes at once; return the rest."""
        try:
            if not self._poll.poll(0):
                return data
            return data[os.write(self._fd, data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""  # nobody reads it any more: there is nowhere to report that

    def _run(self) -> None:
        while True:
            data = self._jobs.get()
            if not isinstance(data, bytes):
                data.release()
                continue
            _write_all(self._fd, data)
            self._taken += len(data)
            dropped = self._dropped
            if dropped != self._reported and self._jobs.empty():
                _write_all(self._fd, self._dropped_line(dropped - self._reported).encode())
                self._reported = dropped


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except OSError:
            return


_writers: Final[weakref.WeakSet[LogWriter]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    with contextlib.suppress(Exception):
        for writer in _writers:
            writer.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
