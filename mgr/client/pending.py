"""Keeps the commands that wait for an answer, across the streams on which they are sent.

The owner of the streams passes in a function that writes and each message that it reads. When a
stream is lost, all open commands are sent again on the next one, under the same request ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration

from mgr.client.attempt import Attempts, refusal_after_attempt
from mgr.client.leader_search import LeaderHint
from mgr.client.messages import Answer, answer_in, request_of
from mgr.client.retry import Failure, PoisonCommandGuard, classify_failure
from mgr.client.span import client_span
from mgr.clock import CLOCK, Clock
from mgr.errors import (
    DeadlineExceededError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    UnreachableError,
)
from mgr.rpc.status import error_in
from mgr.rpc.v1.command_pb2 import Cancel, ExecuteRequest, SessionRequest, SessionResponse
from mgr.waiting import SharedTimer

Stream = grpc.aio.StreamStreamCall[Any, Any]


class CommandStream(Protocol):
    """A stream that can carry commands."""

    def done(self) -> bool:
        """Whether it is over."""
        ...


C = TypeVar("C", bound=CommandStream)


class _Command(Generic[C]):
    """A command that waits for its answer."""

    __slots__ = ("answer", "attempts", "earlier", "message", "poison_guard", "stream", "under_way")

    def __init__(self, message: SessionRequest, clock: Clock) -> None:
        self.message = message
        self.attempts = Attempts(message.execute, clock)
        self.earlier = ""
        """How the attempt ended that may have run; empty if there is none."""
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.stream: C | None = None
        """The stream it was last sent on."""
        self.under_way = False
        """It may be running on the manager of ``stream``: it was sent and not refused."""
        self.poison_guard = PoisonCommandGuard()

    def next(self) -> SessionRequest:
        """Return the message of the next attempt, which is sent now."""
        execute = self.attempts.next()
        if not execute.HasField("age"):
            return self.message
        message = SessionRequest(id=self.message.id, execute=execute)
        message.timeout.CopyFrom(self.message.timeout)
        return message

    def fail(self, error: MgrError) -> None:
        """End the command with ``error``, unless it has ended."""
        if not self.answer.done():
            final_error = refusal_after_attempt(error, self.earlier) if self.earlier else error
            self.answer.set_exception(final_error)


class PendingCommands(Generic[C]):
    """The commands without an answer.

    Attributes:
        stream: Where new commands are sent; None while they wait for an active to be found.
        hint: The leader that a manager named instead of itself, if one did.
        failures: Why an address was of no use, for each such address.
        write_lock: Locked during each write: gRPC takes one message at a time for a stream.

    """

    def __init__(
        self,
        write: Callable[[C, SessionRequest], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        clock: Clock = CLOCK,
    ) -> None:
        """Send with ``write``; cancel abandoned commands in tasks of ``tasks``."""
        self._clock = clock
        self.stream: C | None = None
        self.hint: LeaderHint | None = None
        self.failures: dict[str, str] = {}
        self.write_lock = asyncio.Lock()
        self._write = write
        self._tasks = tasks
        self._timer = SharedTimer()
        self._numbers = itertools.count(1)
        self._open: dict[int, _Command[C]] = {}

    async def execute(
        self,
        words: Sequence[str],
        arguments: dict[str, Any] | None,
        *,
        data: bytes,
        limit_s: float,
        request_id: str | None,
        unhelpful: Mapping[str, str],
    ) -> Answer:
        """Run one command; guarantees and errors are those of ``AsyncClient.execute``.

        ``unhelpful`` holds, by address, why managers are of no use: it goes into the error.
        """
        chosen_id = token_hex(16) if request_id is None else request_id
        with client_span() as trace:
            request = request_of(words, arguments, data, chosen_id, trace)
            return await self._execute(request, limit_s=limit_s, unhelpful=unhelpful)

    async def _execute(
        self, request: ExecuteRequest, *, limit_s: float, unhelpful: Mapping[str, str]
    ) -> Answer:
        number = next(self._numbers)
        seconds = int(limit_s)
        timeout = Duration(seconds=seconds, nanos=int((limit_s - seconds) * 1e9))
        message = SessionRequest(id=number, execute=request, timeout=timeout)
        # Not _Command[C]: that goes through a wrapper of typing's, longer than all the rest.
        command: _Command[C] = _Command(message, self._clock)
        self._open[number] = command
        try:
            with self._timer.limit(limit_s):
                if self.stream is not None:
                    # Written from here: a separate writing task would cost a turn of the loop.
                    await self._send(command, self.stream)
                return await command.answer
        except TimeoutError:
            raise self._timeout_error(command, limit_s, unhelpful) from None
        finally:
            del self._open[number]
            given_up = not command.answer.done() or command.answer.cancelled()
            if given_up and self._is_sent(command):
                self._tasks.create_task(self._withdraw(command))

    async def send_all(self, stream: C) -> None:
        """Send all open commands on ``stream``, then let new ones use it.

        New commands may arrive while this writes, so it repeats until none is left: ``stream``
        becomes the stream of new commands only after all older ones were sent.
        """
        while unsent := [each for each in self._open.values() if each.stream is not stream]:
            for command in unsent:
                if command.poison_guard.too_many:
                    command.stream = stream
                    command.fail(command.poison_guard.error(self._reasons()))
                else:
                    await self._send(command, stream)
        if not stream.done():
            self.stream = stream

    def stream_lost(self, stream: C, leader: LeaderHint, error: MgrError) -> None:
        """Record that ``stream`` ended with ``error``: commands sent on it may have run."""
        self.failures[leader.address] = str(error)
        # Also an error of the manager's ended the stream only, and refused none of its commands.
        failure = classify_failure(error, from_manager=False)
        for command in self._open.values():
            if command.stream is not stream or not command.under_way:
                continue
            if failure is Failure.RETRY_ELSEWHERE:
                command.under_way = False  # it never left this machine
            else:
                command.earlier = f"{leader.address}: {error}"
                if isinstance(error, OutcomeUnknownError):
                    command.poison_guard.record_loss(leader.term)

    def end(self, error: MgrError) -> None:
        """End all open commands with ``error``: there will be no further stream."""
        for command in self._open.values():
            if not command.answer.done():
                sent = command.stream is not None
                command.answer.set_exception(self._unknown_error(str(error)) if sent else error)

    def resolve(self, message: SessionResponse, leader: LeaderHint) -> bool:
        """End a command with its answer; False if it must be sent to another manager."""
        command = self._open.get(message.id)
        if message.WhichOneof("kind") == "response":
            if command and not command.answer.done():
                command.answer.set_result(answer_in(message.response))
            return True
        error = error_in(message.error)
        match classify_failure(error, from_manager=True):
            case Failure.RETRY_ELSEWHERE:
                self.failures[leader.address] = str(error)
                if command:
                    command.under_way = False
                self._remember_hint(error, leader)
                return False
            case Failure.UNCLEAR:
                if command:
                    command.earlier = f"{leader.address}: {error}"
                return False
            case Failure.FINAL:
                if command:
                    command.fail(error)
                return True

    def _remember_hint(self, error: MgrError, leader: LeaderHint) -> None:
        if not isinstance(error, NotActiveError) or not error.active_address:
            return
        if error.active_address != leader.address:
            self.hint = LeaderHint(error.term, error.active_address, error.active_name)

    async def _send(self, command: _Command[C], stream: C) -> None:
        # The reader sees a failed write as the end of the stream, and all open commands are sent
        # again on the next one.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with self.write_lock:
                # Marked before the write, which may be cancelled halfway: it counts as sent.
                if command.stream is not None and command.under_way:
                    command.earlier = command.earlier or "its stream was left without an answer"
                command.stream, command.under_way = stream, True
                await self._write(stream, command.next())

    async def _withdraw(self, command: _Command[C]) -> None:
        if command.stream is not None and self._is_sent(command):
            cancel = SessionRequest(id=command.message.id, cancel=Cancel())
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                async with self.write_lock:
                    await self._write(command.stream, cancel)

    def _is_sent(self, command: _Command[C]) -> bool:
        return command.stream is not None and command.stream is self.stream

    def _timeout_error(
        self, command: _Command[C], limit_s: float, unhelpful: Mapping[str, str]
    ) -> MgrError:
        if command.stream is not None:
            return self._unknown_error(f"no answer within {limit_s:g} s")
        return UnreachableError(
            f"no active manager within {limit_s:g} s", failures={**unhelpful, **self.failures}
        )

    def _unknown_error(self, why: str) -> MgrError:
        return DeadlineExceededError(f"{why}: whether the command ran is unknown")

    def _reasons(self) -> str:
        return "; ".join(f"{address}: {why}" for address, why in self.failures.items())
