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
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

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
RECEIVE_BYTES: Final = 1 << 16
REQUESTS_MAX: Final = 1024
"""Requests of one process that are answered at the same time; further ones wait in its socket."""
CLOSED_S: Final = 1.0
"""How long a process may live on whose connection is closed: its end takes a moment to arrive."""
KILL_S: Final = 5.0
"""How long a killed process may take to be gone. Longer only if the kernel cannot end it."""
BEGUN: Final = struct.Struct("=Q")
BEGUN_AT: Final = 16
"""Where, in the memory shared with the process, it writes the number of the call that begins."""
GATE: Final = struct.Struct("=d")
GATE_AT: Final = 32
"""Where the worker writes the moment at which its gate closes: no command begins after it."""
HITS: Final = struct.Struct("=II")
HITS_AT: Final = 40
"""Where the process counts how often its module was refused memory, and a file."""
EXIT_DISCONNECTED: Final = 211
"""Exit status of a process whose module has closed the socket that its main thread reads."""
DISCONNECTED: Final = "it closed its connection to the manager"

MAIN, JOBS, SERVE, REMOTE = range(4)
LINES: Final = 4
"""The sockets of a process. ``MAIN`` is read by its main thread; each other one by the thread that
it is for, so that a call of that thread and its answer change threads once each."""
LINE_OF: Final = {
    **dict.fromkeys(("construct", "calls_done", "deliver", "command"), JOBS),
    "remote": REMOTE,
}
"""The line of each call into the process that is not on ``MAIN``."""

Answer = Callable[[str, tuple[Any, ...]], Awaitable[Any]]
"""Answers one request of the process: its name and arguments."""
OnAnswer = Callable[[Any, Exception | None], None]
"""Called with the result of a call, or with the exception that it raised."""
Forward = Callable[[str, tuple[Any, ...], OnAnswer], bool]
"""Passes a request on to another process; False if it is to be answered here."""

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
        forward: Is asked first, and passes on what is for another process, without a task.
        on_ended: Called when the process and all that it started are gone; just afterwards the
            calls under way fail.
        ended: Is done from then on.
        reason: Why it is about to end, if that is not its own fault.
        killed_by_limit: The limit because of which it is killed; empty: none.
        explain_end: Called at its end; returns the limit because of which the kernel ended it.
        command: The command that runs there, and the moment on the clock when it was sent.

    """

    def __init__(
        self, module: str, pid: int, pidfd: int, trace: WorkerTrace, tasks: asyncio.TaskGroup
    ) -> None:
        """Own ``pidfd`` and ``trace``; ``connect`` follows."""
        self.module = module
        self.pid = pid
        self.answer: Answer = refuse_requests
        self.forward: Forward = lambda _name, _args, _on_answer: False
        self.on_ended: Callable[[ProcessEnd], None] = lambda _end: None
        self.ended: asyncio.Future[ProcessEnd] = asyncio.get_running_loop().create_future()
        self.killed = False
        self.reason = ""
        self.killed_by_limit = ""
        self.explain_end: Callable[[], str] = lambda: self.killed_by_limit
        self.command: tuple[str, float] | None = None
        self._pidfd = pidfd
        self._trace = trace
        self._memory = mmap.mmap(trace.fd, SIZE)
        self.open_gate(math.inf)
        self._tasks = tasks
        self._transports: list[asyncio.Transport] = []
        self._lines_lost = 0
        self._notes = 0
        self._numbers = 0
        self._calls: dict[int, OnAnswer] = {}
        self._status: int | None = None
        self._disconnected = False
        self._answering = 0
        self._paused = False

    async def connect(self, lines: Sequence[socket.socket]) -> None:
        """Speak with the process through ``lines``."""
        loop = asyncio.get_running_loop()
        for line, sock in enumerate(lines):
            transport, _ = await loop.create_unix_connection(
                partial(_Protocol, self, line), sock=sock
            )
            self._transports.append(transport)

    # -- calls into the process -----------------------------------------------------------------

    def call(self, name: str, *args: Any) -> tuple[int, asyncio.Future[Any]]:
        """Start a call; return its number and the future of its result.

        The future raises what was raised there, and ``ProcessEndedError`` if the process ends.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        return self.request(name, args, partial(settle, future)), future

    def request(self, name: str, args: tuple[Any, ...], on_answer: OnAnswer) -> int:
        """Start a call; return its number. ``on_answer`` is called when its answer is received.

        It gets ``ProcessEndedError`` if the process ends, and may be called at once.
        """
        self._numbers += 1
        number = self._numbers
        if self.ended.done() or self._disconnected:
            on_answer(None, ProcessEndedError(f"the process of {self.module!r} has ended"))
            return number
        try:
            self._send(LINE_OF.get(name, MAIN), Kind.CALL, number, call_body(name, args))
        except (TypeError, ValueError) as error:
            on_answer(None, error)
        else:
            self._calls[number] = on_answer
        return number

    def note(self, name: str, *args: Any) -> None:
        """Tell the process something; for one that has ended it is dropped."""
        if not self._disconnected:
            # Counted: what is sent on another line afterwards is handled after it.
            self._notes += 1
            self._send(MAIN, Kind.NOTE, 0, (name, args))

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

    def kill_by_limit(self, limit: str) -> None:
        """Kill it because it is above a limit. That is its fault: the module is started again."""
        self.killed_by_limit = limit
        self._kill_as_fault()

    def limit_hits(self) -> tuple[int, int]:
        """Return how often the module was refused memory, and a file, as far as that is known."""
        if self.ended.done():
            return (0, 0)
        memory, files = HITS.unpack_from(self._memory, HITS_AT)
        return memory, files

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
        if not self._transports:
            self._disconnected = True
        self._finish()

    def abort(self) -> None:
        """Take in that its zygote has ended: the kernel kills it, and nobody reports that."""
        for transport in self._transports:
            transport.abort()
        self.on_exit(-signal.SIGKILL)

    def _finish(self) -> None:
        """Report the end once its exit is known and everything that it sent was read."""
        if self._status is None or not self._disconnected or self.ended.done():
            return
        content = self._memory[:]
        (begun,) = BEGUN.unpack_from(content, BEGUN_AT)
        stack = tuple(stacks_text(content).splitlines())
        steps = tuple(steps_in_progress(content))
        limit = self.explain_end()
        if self._status == EXIT_DISCONNECTED:
            limit = limit or DISCONNECTED
        self._memory.close()
        self._trace.close()
        os.close(self._pidfd)
        self._pidfd = -1
        how = exit_text(self._status)
        how = self.reason or (f"{how} ({limit})" if limit else how)
        end = ProcessEnd(how, steps, stack, begun, at_fault=not self.reason)
        self.ended.set_result(end)
        self.on_ended(end)
        calls, self._calls = self._calls, {}
        for on_answer in calls.values():
            on_answer(None, ProcessEndedError("the module's process has ended"))

    # -- called by the protocol -----------------------------------------------------------------

    def on_disconnected(self) -> None:
        """Take in that nothing more will come on one of the lines."""
        self._lines_lost += 1
        self._disconnected = self._lines_lost >= LINES
        if self._status is None and not self.killed:
            # It ends, or a module has closed what is not its own: then nobody could call it.
            asyncio.get_running_loop().call_later(CLOSED_S, self._kill_if_disconnected)
        self._finish()

    def _kill_if_disconnected(self) -> None:
        if self._status is None and not self.ended.done():
            self.kill_by_limit(self.killed_by_limit or DISCONNECTED)

    def on_message(self, line: int, message: Message) -> None:
        """Handle a message of the process."""
        kind, number, body, _ = message
        if kind == Kind.CALL:
            name, args, *trace = body
            with Carried(trace_in(trace)):
                passed_on = self.forward(name, args, partial(self._pass_back, line, number))
            if passed_on:
                return
            self._answering += 1
            if self._answering >= REQUESTS_MAX and not self._paused:
                for transport in self._transports:
                    transport.pause_reading()
                self._paused = True
            self._tasks.create_task(self._answer_request(line, number, *body))
            return
        if (on_answer := self._calls.pop(number, None)) is not None:
            if kind == Kind.RESULT:
                on_answer(body, None)
            else:
                on_answer(None, decode_failure(body, of_module=True))

    def _pass_back(self, line: int, number: int, result: Any, error: Exception | None) -> None:
        """Answer a request with what another process answered."""
        if self._disconnected:
            return
        if error is None:
            self._send_answer(line, Kind.RESULT, number, result)
        else:
            self._send_answer(line, Kind.FAILURE, number, encode_failure(error))

    def on_unreadable(self, error: Exception) -> None:
        """Kill a process whose messages cannot be read: its memory may be damaged."""
        fields = {"module_name": self.module, "error": str(error)}
        log.error("unreadable message from the process of a module: killed", extra=fields)
        self._kill_as_fault()

    async def _answer_request(
        self, line: int, number: int, name: str, args: tuple[Any, ...], *trace: tuple[str, str]
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
        if self._paused:
            self._paused = False
            for transport in self._transports:
                transport.resume_reading()
        self._send_answer(line, reply[0], number, reply[1])

    def _send_answer(self, line: int, kind: Kind, number: int, body: Any) -> None:
        try:
            self._send(line, kind, number, body)
        except (TypeError, MessageTooLargeError) as error:
            self._send(line, Kind.FAILURE, number, encode_failure(error))

    def _send(self, line: int, kind: Kind, number: int, body: Any) -> None:
        transport = self._transports[line]
        transport.write(encode(kind, number, body, self._notes))
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            fields = {"module_name": self.module, "bytes": UNSENT_BYTES_MAX}
            log.error("the process of a module does not read its messages: killed", extra=fields)
            self._kill_as_fault()

    def _kill_as_fault(self) -> None:
        killed = self.killed
        self.kill()
        self.killed = killed  # nobody asked for it: the module is to be started again


class _Protocol(asyncio.BufferedProtocol):
    """Passes on what is received on one line."""

    def __init__(self, process: ModuleProcess, line: int) -> None:
        self._process = process
        self._line = line
        self._buffer, self._space = MessageBuffer(), memoryview(bytearray(RECEIVE_BYTES))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - one size, always there
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for message in self._buffer.feed(self._space[:nbytes]):
                self._process.on_message(self._line, message)
        except Exception as error:  # noqa: BLE001 - a damaged process may send anything
            self._process.on_unreadable(error)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its exit says more
        self._process.on_disconnected()


def settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    """Give a future the answer of a call, unless its caller has gone away."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def exit_text(status: int) -> str:
    """Describe an exit status in words: ``exit status 3``, ``SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
