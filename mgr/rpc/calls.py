"""Concurrent commands of one stream: each is answered when it is finished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from mgr.access.identity import Caller
from mgr.clock import Clock
from mgr.errors import InvalidArgumentError, MgrError, OverloadedError
from mgr.rpc.edge import internal
from mgr.rpc.status import status_of
from mgr.rpc.v1.command_pb2 import ExecuteRequest, ExecuteResponse, SessionRequest, SessionResponse

IN_FLIGHT_MAX: Final = 1024
"""Limit of unanswered commands of one stream; further ones are refused and do not run."""

Write = Callable[[SessionResponse], Awaitable[None]]


class Executor(Protocol):
    """Runs one command."""

    async def __call__(
        self, request: ExecuteRequest, *, deadline_s: float | None, caller: Caller
    ) -> ExecuteResponse:
        """Return the answer or raise a ``MgrError``."""
        ...


class Calls:
    """The unanswered commands of one client on one stream."""

    def __init__(self, execute: Executor, write: Write, *, clock: Clock, caller: Caller) -> None:
        """Run the commands of ``caller`` with ``execute``; send answers with ``write``."""
        self._execute = execute
        self._write = write
        self._clock = clock
        self._caller = caller
        self._running: dict[int, asyncio.Task[None]] = {}

    def take(self, message: SessionRequest, tasks: asyncio.TaskGroup) -> SessionResponse | None:
        """Start the command of ``message`` in ``tasks``, or cancel one.

        Returns the refusal to send, None without one. Whoever reads sends it, so that no further
        message is read before the client takes its answers: backpressure.
        """
        kind = message.WhichOneof("kind")
        number = message.id
        if kind == "cancel":
            if task := self._running.get(number):
                task.cancel()
            return None
        if kind is None or number in self._running:
            why = "is empty" if kind is None else "is still open"
            return _refusal(number, InvalidArgumentError(f"request {number} {why}"))
        if len(self._running) >= IN_FLIGHT_MAX:
            error = OverloadedError(f"{IN_FLIGHT_MAX} commands of this stream are open")
            return _refusal(number, error)
        self._running[number] = tasks.create_task(self._run(number, message))
        return None

    async def _run(self, number: int, message: SessionRequest) -> None:
        deadline_s = None
        if message.HasField("timeout"):
            deadline_s = self._clock.now() + message.timeout.ToNanoseconds() / 1e9
        try:
            response = await self._execute(
                message.execute, deadline_s=deadline_s, caller=self._caller
            )
            answer = SessionResponse(id=number, response=response)
        except MgrError as error:
            # A frame that it passed may have it in a variable: both would be garbage for minutes.
            answer = _refusal(number, error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 - the RPC edge: one command, not the stream
            answer = _refusal(number, internal("Session", error))
        finally:
            del self._running[number]
        await self._write(answer)


def _refusal(number: int, error: MgrError) -> SessionResponse:
    return SessionResponse(id=number, error=status_of(error))
