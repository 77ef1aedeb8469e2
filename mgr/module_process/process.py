"""The worker's end of one module's process: calls into it, requests from it, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import mmap
import os
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from mgr.host.execution import ProcessEndedError
from mgr.module_process.failures import decode_failure, encode_failure
from mgr.module_process.messages import (
    Kind,
    Message,
    MessageBuffer,
    MessageTooLargeError,
    call_body,
    encode,
    trace_in,
)
from mgr.tracing import Carried
from mgr.worker_trace import SIZE, Step, WorkerTrace, stacks_text, steps_in_progress

UNSENT_BYTES_MAX: Final = 64 << 20
"""A process that leaves more than this unread is killed: it would fill the worker's memory."""
REQUESTS_MAX: Final = 1024
"""Requests of one process that are answered at the same time; further ones wait in its socket."""
KILL_S: Final = 5.0
"""How long a killed process may take to be gone. Longer only if the kernel cannot end it."""
BEGUN: Final = struct.Struct("=Q")
BEGUN_AT: Final = 16
"""Where, in the memory shared with the process, it writes the number of the call that begins."""
GATE: Final = struct.Struct("=d")
GATE_AT: Final = 32
"""Where the worker writes the moment at which its gate closes: no command begins after it."""

Answer = Callable[[str, tuple[Any, ...]], Awaitable[Any]]
"""Answers one request of the process: its name and arguments."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a process ended.

    Attributes:
        how: A signal's name, or ``exit status N``, or a reason in words.
        steps: What the module was being asked at that moment, the earliest first.
        stack: The last stacks of its threads, line by line.
        begun: The number of the last of the ordered calls that had begun.
        at_fault: Whether it ended by itself, and not because of something else.

    """

    how: str
    steps: tuple[Step, ...] = ()
    stack: tuple[str, ...] = ()
    begun: int = 0
    at_fault: bool = True


async def refuse_requests(name: str, _args: tuple[Any, ...]) -> Any:
    """Answer no request: the module is not constructed yet, or never will be."""
    raise RuntimeError(f"{name}: the module is not connected to the manager")


class ModuleProcess:
    """One process. Use it on the loop.

    Attributes:
        answer: Answers the process's requests; each in a task of its own.
        on_ended: Called when the process and all that it started are gone; just afterwards the
            calls under way fail.
        ended: Is done from then on.
        reason: Why it is about to end, if that is not its own fault.

    """

    def __init__(
        self, module: str, pid: int, pidfd: int, trace: WorkerTrace, tasks: asyncio.TaskGroup
    ) -> None:
        """Own ``pidfd`` and ``trace``; ``connect`` follows."""
        self.module = module
        self.pid = pid
        self.answer: Answer = refuse_requests
        self.on_ended: Callable[[ProcessEnd], None] = lambda _end: None
        self.ended: asyncio.Future[ProcessEnd] = asyncio.get_running_loop().create_future()
        self.killed = False
        self.reason = ""
        self._pidfd = pidfd
        self._trace = trace
        self._memory = mmap.mmap(trace.fd, SIZE)
        self.open_gate(math.inf)
        self._tasks = tasks
        self._transport: asyncio.Transport | None = None
        self._numbers = 0
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._status: int | None = None
        self._disconnected = False
        self._answering = 0
        self._paused = False

    async def connect(self, sock: socket.socket) -> None:
        """Speak with the process through ``sock``."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: _Protocol(self), sock=sock)

    # -- calls into the process -----------------------------------------------------------------

    def call(self, name: str, *args: Any) -> tuple[int, asyncio.Future[Any]]:
        """Start a call; return its number and the future of its result.

        The future raises what was raised there, and ``ProcessEndedError`` if the process ends.
        """
        self._numbers += 1
        number = self._numbers
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.ended.done() or self._disconnected:
            future.set_exception(ProcessEndedError(f"the process of {self.module!r} has ended"))
            return number, future
        try:
            self._send(Kind.CALL, number, call_body(name, args))
        except (TypeError, ValueError) as error:
            future.set_exception(error)
        else:
            self._calls[number] = future
        return number, future

    def note(self, name: str, *args: Any) -> None:
        """Tell the process something; for one that has ended it is dropped."""
        if not self._disconnected:
            self._send(Kind.NOTE, 0, (name, args))

    def open_gate(self, until_s: float) -> None:
        """Let commands begin until that moment on the clock. It sees this without a message."""
        if not self.ended.done():
            GATE.pack_into(self._memory, GATE_AT, until_s)

    # -- its end --------------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill the process. ``ended`` follows, once what it started is gone, too."""
        self.killed = True
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def end(self) -> bool:
        """Kill it and wait until it is gone; return whether it is."""
        self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                await asyncio.shield(self.ended)
        return self.ended.done()

    def dump_stacks(self) -> None:
        """Have it write down the stacks of its threads."""
        self._trace.forget_stacks()
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGUSR1)

    def stacks(self) -> str:
        """Return the stacks that were written down last."""
        return stacks_text(self._trace.read())

    def on_exit(self, status: int) -> None:
        """Take in that it ended with ``status``, as of ``subprocess.Popen.returncode``."""
        self._status = status
        if self._transport is None:
            self._disconnected = True
        self._finish()

    def abort(self) -> None:
        """Take in that its zygote has ended: the kernel kills it, and nobody reports that."""
        if self._transport is not None:
            self._transport.abort()
        self.on_exit(-signal.SIGKILL)

    def _finish(self) -> None:
        """Report the end once its exit is known and everything that it sent was read."""
        if self._status is None or not self._disconnected or self.ended.done():
            return
        content = self._memory[:]
        (begun,) = BEGUN.unpack_from(content, BEGUN_AT)
        stack = tuple(stacks_text(content).splitlines())
        steps = tuple(steps_in_progress(content))
        self._memory.close()
        self._trace.close()
        os.close(self._pidfd)
        self._pidfd = -1
        how = self.reason or exit_text(self._status)
        end = ProcessEnd(how, steps, stack, begun, at_fault=not self.reason)
        self.ended.set_result(end)
        self.on_ended(end)
        calls, self._calls = self._calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(ProcessEndedError("the module's process has ended"))

    # -- called by the protocol -----------------------------------------------------------------

    def on_connected(self, transport: asyncio.Transport) -> None:
        """Use ``transport`` from now on."""
        self._transport = transport

    def on_disconnected(self) -> None:
        """Take in that nothing more will come."""
        self._disconnected = True
        self._finish()

    def on_message(self, message: Message) -> None:
        """Handle a message of the process."""
        kind, number, body = message
        if kind == Kind.CALL:
            self._answering += 1
            if self._answering >= REQUESTS_MAX and self._transport is not None:
                self._transport.pause_reading()
                self._paused = True
            self._tasks.create_task(self._answer_request(number, *body))
            return
        future = self._calls.pop(number, None)
        if future is None or future.done():
            return
        if kind == Kind.RESULT:
            future.set_result(body)
        else:
            future.set_exception(decode_failure(body))

    def on_unreadable(self, error: Exception) -> None:
        """Kill a process whose messages cannot be read: its memory may be damaged."""
        fields = {"module_name": self.module, "error": str(error)}
        log.error("unreadable message from the process of a module: killed", extra=fields)
        self._kill_as_fault()

    async def _answer_request(
        self, number: int, name: str, args: tuple[Any, ...], *trace: tuple[str, str]
    ) -> None:
        try:
            with Carried(trace_in(trace)):
                reply = Kind.RESULT, await self.answer(name, args)
        except Exception as error:  # noqa: BLE001 - the module's request fails, nothing else
            reply = Kind.FAILURE, encode_failure(error)
        finally:
            self._answering -= 1
        if self._disconnected:
            return
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        try:
            self._send(reply[0], number, reply[1])
        except (TypeError, MessageTooLargeError) as error:
            self._send(Kind.FAILURE, number, encode_failure(error))

    def _send(self, kind: Kind, number: int, body: Any) -> None:
        if self._transport is None:
            raise AssertionError("connect() comes first")
        self._transport.write(encode(kind, number, body))
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            fields = {"module_name": self.module, "bytes": UNSENT_BYTES_MAX}
            log.error("the process of a module does not read its messages: killed", extra=fields)
            self._kill_as_fault()

    def _kill_as_fault(self) -> None:
        killed = self.killed
        self.kill()
        self.killed = killed  # nobody asked for it: the module is to be started again


class _Protocol(asyncio.Protocol):
    """Passes on what is received."""

    def __init__(self, process: ModuleProcess) -> None:
        self._process = process
        self._buffer = MessageBuffer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream socket was given. The transports of uvloop have no base class of asyncio's.
        self._process.on_connected(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._buffer.feed(data):
                self._process.on_message(message)
        except Exception as error:  # noqa: BLE001 - a damaged process may send anything
            self._process.on_unreadable(error)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its exit says more
        self._process.on_disconnected()


def exit_text(status: int) -> str:
    """Describe an exit status in words: ``exit status 3``, ``SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
