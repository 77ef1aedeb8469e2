"""The module's end of the sockets to the worker: calls in both directions, from any thread.

The main thread reads one of them, for every thread. The others are lines: each belongs to the
threads that run one kind of call, which read the line themselves. So a command reaches its thread,
and an answer its caller, without a change of threads in between. What the worker has noted on the
main socket before a message on a line is handled before that message.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, Protocol

from mgr.errors import OutcomeUnknownError
from mgr.module_process.failures import decode_failure, encode_failure
from mgr.module_process.messages import (
    HEADER,
    Kind,
    Message,
    MessageBuffer,
    announced_length,
    call_body,
    decode,
    encode,
    trace_in,
)
from mgr.tracing import TraceContext

RECEIVE_BYTES: Final = 1 << 14
"""Received at once, into a buffer that is kept: to get and free one costs more than a command."""
ONE_READER: Final = select.EPOLLIN | select.EPOLLONESHOT
"""The thread that is woken reads alone: no other is woken until it asks for the next message."""
REPLY_S: Final = 660.0
"""How long a thread waits for an answer. The worker's own limits are shorter."""

_exit: Final = os._exit
"""As it is before the module is imported: some modules of Ceph replace it."""
_thread: Final = threading.local()
"""``line``: the line that the present thread reads."""


class _Waiting:
    """A thread that waits for an answer."""

    __slots__ = ("answered", "body", "kind", "on_result")

    def __init__(self, on_result: Callable[[Any], None] | None) -> None:
        # A lock that its owner releases is cheaper than an event.
        self.answered = threading.Lock()
        self.answered.acquire()
        self.on_result = on_result
        self.kind = Kind.FAILURE
        self.body: Any = None


class Sender(Protocol):
    """Sends messages to the worker."""

    def send(self, kind: Kind, number: int, body: Any) -> None:
        """Send a message; waits while the worker does not read."""
        ...


class Reply:
    """Answers one call of the worker, once."""

    def __init__(self, link: Sender, number: int, trace: TraceContext | None = None) -> None:
        self._link = link
        self.number = number
        self.trace = trace
        """The trace context in which the worker calls."""

    def result(self, value: Any) -> None:
        """Answer with ``value``.

        Raises:
            MessageTooLargeError: It is too large; nothing was sent.
            TypeError: It contains something that is not plain; nothing was sent.

        """
        self._link.send(Kind.RESULT, self.number, value)

    def failure(self, failure: tuple[Any, ...]) -> None:
        """Answer with an exception, made by ``encode_failure``."""
        self._link.send(Kind.FAILURE, self.number, failure)


class ChildLink:
    """The socket to the worker. ``read`` runs on the main thread; the rest on any other."""

    def __init__(self, sock: socket.socket) -> None:
        """Speak through ``sock``, which is blocking."""
        self._sock = sock
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._reader = threading.get_ident()
        self._noted = threading.Condition()
        self._notes = self._followers = 0
        self.exit_disconnected = 1
        # A process that the module forks must not speak for it.
        os.register_at_fork(after_in_child=sock.close)

    def call(self, name: str, *args: Any, on_result: Callable[[Any], None] | None = None) -> Any:
        """Ask the worker and wait for its answer; raises what it raised there.

        ``on_result`` is called with the result before any later message is handled; without it
        the answer comes on the line of this thread, if that has one.

        Raises:
            OutcomeUnknownError: There is no answer.

        """
        if threading.get_ident() == self._reader:
            raise RuntimeError(f"{name}: the manager cannot be called from a signal handler")
        line: ChildLine | None = getattr(_thread, "line", None)
        if line is not None and on_result is None:
            return line.call(name, *args)
        waiting, number = _Waiting(on_result), next(self._numbers)
        content = encode(Kind.CALL, number, call_body(name, args))
        self._waiting[number] = waiting
        with self._sending:
            self._sock.sendall(content)
        if not waiting.answered.acquire(timeout=REPLY_S):
            self._waiting.pop(number, None)
            raise OutcomeUnknownError(f"{name}: no answer within {REPLY_S:g} s")
        if waiting.kind == Kind.RESULT:
            return waiting.body
        raise decode_failure(waiting.body)

    def send(self, kind: Kind, number: int, body: Any) -> None:
        """Send a message; waits while the worker does not read."""
        content = encode(kind, number, body)
        with self._sending:
            self._sock.sendall(content)

    def read(
        self, calls: Mapping[str, Callable[..., None]], notes: Mapping[str, Callable[..., None]]
    ) -> None:
        """Handle the worker's messages in order, until it is gone.

        ``calls`` and ``notes`` must not wait; a call gets a ``Reply`` first.
        """
        buffer, space = MessageBuffer(), memoryview(bytearray(RECEIVE_BYTES))
        while count := self._receive(space):
            for kind, number, body, _ in buffer.feed(space[:count]):
                if kind in {Kind.RESULT, Kind.FAILURE}:
                    self._on_answer(kind, number, body)
                    continue
                name, args, *trace = body
                if kind == Kind.NOTE:
                    self._on_note(notes[name], args)
                else:
                    self._on_call(calls[name], Reply(self, number, trace_in(trace)), args)

    def wait_noted(self, count: int) -> None:
        """Wait until the first ``count`` notes of the worker were handled."""
        if self._notes >= count:
            return
        with self._noted:
            self._followers += 1
            # The main thread has them already, or is about to receive them.
            self._noted.wait_for(lambda: self._notes >= count, timeout=REPLY_S)
            self._followers -= 1

    def _on_note(self, note: Callable[..., None], args: tuple[Any, ...]) -> None:
        try:
            note(*args)
        finally:
            # Counted before it is looked who waits: whoever begins to wait later sees the count.
            self._notes += 1
            if self._followers:
                with self._noted:
                    self._noted.notify_all()

    def _receive(self, space: memoryview) -> int:
        try:
            return self._sock.recv_into(space)
        except OSError as error:
            if error.errno == errno.EBADF:
                _exit(self.exit_disconnected)
            return 0

    def _on_answer(self, kind: int, number: int, body: Any) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        waiting.kind, waiting.body = Kind(kind), body
        if kind == Kind.RESULT and waiting.on_result is not None:
            waiting.on_result(body)
        waiting.answered.release()

    @staticmethod
    def _on_call(call: Callable[..., None], reply: Reply, args: tuple[Any, ...]) -> None:
        try:
            call(reply, *args)
        except Exception as error:  # noqa: BLE001 - this call fails, and no later one
            reply.failure(encode_failure(error))


class _Line:
    """A socket to the worker beside that of the main thread."""

    def __init__(self, link: ChildLink, sock: socket.socket, events: int) -> None:
        """Handle every message after what was noted on ``link`` before it."""
        self._link = link
        self._sock = sock
        self._sending = threading.Lock()
        self._poll = select.epoll()
        self._poll.register(sock, events)
        os.register_at_fork(after_in_child=sock.close)
        os.register_at_fork(after_in_child=self._poll.close)

    def send(self, kind: Kind, number: int, body: Any) -> None:
        """Send a message; waits while the worker does not read."""
        content = encode(kind, number, body)
        with self._sending:
            self._sock.sendall(content)


class ChildLine(_Line):
    """A line that one thread reads, for its jobs and its own calls."""

    def __init__(self, link: ChildLink, sock: socket.socket) -> None:
        """See ``_Line``."""
        super().__init__(link, sock, select.EPOLLIN)
        self._numbers = itertools.count(1)
        self._buffer, self._space = MessageBuffer(), memoryview(bytearray(RECEIVE_BYTES))
        self._received: deque[Message] = deque()
        self._jobs: deque[Message] = deque()

    def belongs_to_this_thread(self) -> None:
        """Let calls of this thread go this way from now on; no other thread may read it."""
        _thread.line = self

    def call(self, name: str, *args: Any) -> Any:
        """Ask the worker and wait for its answer; raises what it raised there.

        Raises:
            OutcomeUnknownError: There is no answer.

        """
        number = next(self._numbers)
        self.send(Kind.CALL, number, call_body(name, args))
        while True:
            # Not in ``recv`` at once: it would be woken for nothing when the worker takes the
            # request. The kernel wakes all who wait at a socket when there is room in it again.
            if not self._received and not self._poll.poll(REPLY_S, 1):
                raise OutcomeUnknownError(f"{name}: no answer within {REPLY_S:g} s")
            message = self._next()
            if message.kind == Kind.CALL:
                self._jobs.append(message)
            elif message.number == number:
                break
        if message.kind == Kind.RESULT:
            return message.body
        raise decode_failure(message.body)

    def next_job(self) -> Message:
        """Wait for the next call of the worker."""
        if self._jobs:
            return self._jobs.popleft()
        while True:
            message = self._next()
            if message.kind == Kind.CALL:
                return message

    def _next(self) -> Message:
        """Wait for the next message."""
        while not self._received:
            try:
                count = self._sock.recv_into(self._space)
            except OSError:
                count = 0
            if not count:
                _wait_for_the_end()
            self._received.extend(self._buffer.feed(self._space[:count]))
        message = self._received.popleft()
        self._link.wait_noted(message.after)
        return message


class SharedLine(_Line):
    """A line that any number of threads wait for: each job wakes one of them.

    The kernel chooses which. If the threads took turns at reading, whoever got a job would have to
    wake the next one, and both would want the interpreter at once.
    """

    def __init__(self, link: ChildLink, sock: socket.socket) -> None:
        """See ``_Line``."""
        super().__init__(link, sock, ONE_READER)

    def next_job(self) -> Message:
        """Wait for the next call of the worker."""
        try:
            self._poll.poll(None, 1)
            # Until ``modify`` no other thread is woken: the rest of this message may still arrive.
            length = announced_length(self._receive(HEADER.size))
            message = decode(self._receive(length))
            self._poll.modify(self._sock, ONE_READER)
        except OSError:
            _wait_for_the_end()
        self._link.wait_noted(message.after)
        return message

    def _receive(self, count: int) -> bytes:
        """Receive ``count`` bytes; raises ``ConnectionResetError`` if the worker is gone."""
        content = self._sock.recv(count, socket.MSG_WAITALL)
        while len(content) < count:  # a signal came in between, or it is the end
            more = self._sock.recv(count - len(content), socket.MSG_WAITALL)
            if not more:
                raise ConnectionResetError
            content += more
        return content


def _wait_for_the_end() -> NoReturn:
    """The worker is gone, or has let go of this process: the main thread ends it."""
    while True:
        threading.Event().wait(REPLY_S)
