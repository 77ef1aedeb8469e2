"""Requests to the manager of this host over its unix socket, without an event loop and gRPC.

One request at a time uses a connection; several threads use several. A request is written by the
calling thread, which waits for the answer itself: no other thread is woken.

Whether a request may have run is known better than over a network: as long as a request was not
written whole, it was not run, and a write to a socket whose manager is gone fails.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from mgr.clock import CLOCK, Clock
from mgr.errors import (
    DeadlineExceededError,
    InternalError,
    MgrError,
    OutcomeUnknownError,
    UnreachableError,
)
from mgr.rpc import local_frames as frames
from mgr.rpc.error_info import info_in, rebuilt
from mgr.rpc.v1 import manager_pb2
from mgr.rpc.v1.command_pb2 import (
    DescribeCommandsRequest,
    DescribeCommandsResponse,
    ExecuteRequest,
    ExecuteResponse,
)

IDLE_MAX: Final = 16
"""Most idle connections that are kept for further requests."""
ANSWER_BYTES_MAX: Final = 256 << 20
"""An answer that claims to be larger is not one of ours."""
READ_BYTES: Final = 64 << 10
GREETING_S: Final = 0.5
"""A manager that does not send its name within this time is frozen or overloaded."""
LEADER_CHECK_S: Final = 0.2
"""How often ``superseded`` is asked while there is no answer."""

Superseded = Callable[[str], bool]
"""Returns whether another manager than the one of this name leads now."""


class NoAnswerError(Exception):
    """The manager did not answer: ``error`` says whether the request may have run.

    A refusal of the manager's is a ``MgrError`` itself.
    """

    def __init__(self, error: MgrError) -> None:
        super().__init__(str(error))
        self.error: Final = error


class LocalSocket:
    """The manager behind one unix socket. Any number of threads may use it at once."""

    def __init__(self, path: str, *, clock: Clock = CLOCK) -> None:
        """Connect to ``path`` at the first request."""
        self.path: Final = path
        self._clock = clock
        # Appending to and popping from a deque are atomic, so no lock is needed.
        self._idle: deque[_Connection] = deque()

    def execute(
        self,
        request: ExecuteRequest,
        *,
        timeout_s: float,
        superseded: Superseded = lambda _name: False,
    ) -> ExecuteResponse:
        """Run one command on the manager of this host.

        ``superseded`` is asked while the answer does not come: the manager may be frozen, and
        another one lead.

        Raises:
            NoAnswerError: ``UnreachableError``: nothing ran. ``OutcomeUnknownError``: the
                connection broke, or another manager leads now. ``DeadlineExceededError``: no answer
                came in time.
            MgrError: The manager's refusal, ``NotActiveError`` among others.

        """
        answer = self._ask(frames.Kind.EXECUTE, request, timeout_s, superseded)
        response: ExecuteResponse = _decoded(ExecuteResponse, answer)
        return response

    def describe(self, etag: str, *, timeout_s: float) -> DescribeCommandsResponse:
        """Return the commands, or only the etag if it is current; raises as ``execute`` does."""
        request = DescribeCommandsRequest(etag=etag)
        answer = self._ask(frames.Kind.DESCRIBE, request, timeout_s)
        response: DescribeCommandsResponse = _decoded(DescribeCommandsResponse, answer)
        return response

    def status(self, *, timeout_s: float) -> manager_pb2.GetStatusResponse:
        """Return the state of the manager; raises as ``execute`` does."""
        answer = self._ask(frames.Kind.STATUS, manager_pb2.GetStatusRequest(), timeout_s)
        response: manager_pb2.GetStatusResponse = _decoded(manager_pb2.GetStatusResponse, answer)
        return response

    def close(self) -> None:
        """Close the connections that no request uses."""
        while self._idle:
            self._idle.pop().close()

    def _ask(
        self,
        kind: frames.Kind,
        request: Any,
        timeout_s: float,
        superseded: Superseded = lambda _name: False,
    ) -> bytes:
        ends_s = self._clock.now() + timeout_s
        connection = self._sent(kind, request.SerializeToString(), timeout_s)
        kept = False
        try:
            outcome, answer = self._answer(connection, ends_s, superseded)
            kept = len(self._idle) < IDLE_MAX
        except TimeoutError:
            raise NoAnswerError(
                DeadlineExceededError(
                    f"no answer within {timeout_s:g} s: whether it was done is unknown"
                )
            ) from None
        except (OSError, frames.FrameTooLargeError) as error:
            broken = OutcomeUnknownError(f"{self.path}: the connection broke: {error}")
            raise NoAnswerError(broken) from None
        finally:
            # Closing it withdraws the request: a command that has not begun never begins.
            self._idle.append(connection) if kept else connection.close()
        if outcome == frames.Outcome.RESPONSE:
            return answer
        raise _error_in(answer)

    def _answer(
        self, connection: _Connection, ends_s: float, superseded: Superseded
    ) -> tuple[int, bytes]:
        while (left_s := ends_s - self._clock.now()) > 0:
            try:
                return connection.answer(min(left_s, LEADER_CHECK_S))
            except TimeoutError:
                if superseded(connection.name):
                    raise OSError("it did not answer, and another manager leads now") from None
        raise TimeoutError

    def _sent(self, kind: frames.Kind, message: bytes, timeout_s: float) -> _Connection:
        """Write a request; return the connection on which its answer comes."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break  # another thread took it
            try:
                connection.send(kind, message, timeout_s)
            except OSError:
                connection.close()  # the manager ended meanwhile: it did not get the request
            else:
                return connection
        try:
            connection = _Connection(self.path, timeout_s)
        except OSError as error:
            raise NoAnswerError(self._unreachable(error)) from None
        try:
            connection.send(kind, message, timeout_s)
        except OSError as error:
            connection.close()
            raise NoAnswerError(self._unreachable(error)) from None
        return connection

    def _unreachable(self, error: OSError) -> UnreachableError:
        why = error.strerror or str(error)
        return UnreachableError("no manager answers at the socket", failures={self.path: why})


class _Connection:
    """A connected socket, with at most one request under way.

    Attributes:
        name: The manager's.

    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._reader = frames.FrameReader(frames.ANSWER, ANSWER_BYTES_MAX)
        self._number = 0
        try:
            self._socket.settimeout(min(timeout_s, GREETING_S))
            self._socket.connect(path)
            outcome, greeting = self._read()
        except BaseException:
            self._socket.close()
            raise
        if outcome != frames.Outcome.NAME:
            self._socket.close()
            raise _error_in(greeting)
        self.name = greeting.decode(errors="replace")

    def send(self, kind: frames.Kind, message: bytes, timeout_s: float) -> None:
        self._number += 1
        wait_ms = min(max(1, int(timeout_s * 1e3)), frames.WAIT_MS_MAX)
        header = frames.REQUEST.pack(len(message), self._number, kind, wait_ms)
        self._socket.settimeout(timeout_s)
        self._socket.sendall(header + message)

    def answer(self, limit_s: float) -> tuple[int, bytes]:
        self._socket.settimeout(limit_s)
        return self._read()

    def _read(self) -> tuple[int, bytes]:
        while data := self._socket.recv(READ_BYTES):
            for (number, outcome), message in self._reader.feed(data):
                # Number 0 concerns the whole connection.
                if number in {0, self._number}:
                    return outcome, message
        raise ConnectionResetError("the manager closed it")

    def close(self) -> None:
        self._socket.close()


def _decoded(family: Any, answer: bytes) -> Any:
    try:
        return family.FromString(answer)
    except DecodeError as error:
        raise InternalError(f"an answer that cannot be read: {error}") from None


def _error_in(answer: bytes) -> MgrError:
    status = _decoded(status_pb2.Status, answer)
    info = info_in(status)
    return InternalError(status.message) if info is None else rebuilt(info, status.message)
