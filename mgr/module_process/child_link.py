"""The module's end of the socket to the worker: calls in both directions, from any thread."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from mgr.errors import OutcomeUnknownError
from mgr.module_process.failures import decode_failure, encode_failure
from mgr.module_process.messages import Kind, MessageBuffer, call_body, encode, trace_in
from mgr.tracing import TraceContext

RECEIVE_BYTES: Final = 1 << 18
REPLY_S: Final = 660.0
"""How long a thread waits for an answer. The worker's own limits are shorter."""


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


class Reply:
    """Answers one call of the worker, once, from any thread."""

    def __init__(self, link: ChildLink, number: int, trace: TraceContext | None = None) -> None:
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
        # A process that the module forks must not speak for it.
        os.register_at_fork(after_in_child=sock.close)

    def call(self, name: str, *args: Any, on_result: Callable[[Any], None] | None = None) -> Any:
        """Ask the worker and wait for its answer; raises what it raised there.

        ``on_result`` is called with the result before any later message is handled.

        Raises:
            OutcomeUnknownError: There is no answer.

        """
        if threading.get_ident() == self._reader:
            raise RuntimeError(f"{name}: the manager cannot be called from a signal handler")
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
        buffer = MessageBuffer()
        while received := self._receive():
            for kind, number, body in buffer.feed(received):
                if kind in {Kind.RESULT, Kind.FAILURE}:
                    self._on_answer(kind, number, body)
                    continue
                name, args, *trace = body
                if kind == Kind.NOTE:
                    notes[name](*args)
                else:
                    self._on_call(calls[name], Reply(self, number, trace_in(trace)), args)

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(RECEIVE_BYTES)
        except OSError:
            return b""

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
