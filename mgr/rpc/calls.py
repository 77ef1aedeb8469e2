"""Concurrent commands of one stream: each is answered when it is finished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from mgr.access.identity import Caller
from mgr.clock import Clock
from mgr.errors import InvalidArgumentError, MgrError, OverloadedError
from mgr.rpc.interceptor import internal
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

    async def take(self, message: SessionRequest, tasks: asyncio.TaskGroup) -> None:
        """Start the command of ``message`` in ``tasks``, or cancel one; send a refusal at once."""
        kind = message.WhichOneof("kind")
        if kind == "cancel":
            if task := self._running.get(message.id):
                task.cancel()
            return
        if kind is None or message.id in self._running:
            why = "is empty" if kind is None else "is still open"
            await self._refuse(message.id, InvalidArgumentError(f"request {message.id} {why}"))
        elif len(self._running) >= IN_FLIGHT_MAX:
            # The refusal is sent by the task that reads. So no further message is read before the
            # client takes its answers: backpressure.
            await self._refuse(
                message.id, OverloadedError(f"{IN_FLIGHT_MAX} commands of this stream are open")
            )
        else:
            self._running[message.id] = tasks.create_task(self._run(message))

    async def _run(self, message: SessionRequest) -> None:
        answer = SessionResponse(id=message.id)
        deadline_s = None
        if message.HasField("timeout"):
            deadline_s = self._clock.now() + message.timeout.ToNanoseconds() / 1e9
        try:
            response = await self._execute(
                message.execute, deadline_s=deadline_s, caller=self._caller
            )
            answer.response.CopyFrom(response)
        except MgrError as error:
            answer.error.CopyFrom(status_of(error))
        except Exception as error:  # noqa: BLE001 - the RPC edge: one command, not the stream
            answer.error.CopyFrom(status_of(internal("Session", error)))
        finally:
            del self._running[message.id]
        await self._write(answer)

    async def _refuse(self, number: int, error: MgrError) -> None:
        await self._write(SessionResponse(id=number, error=status_of(error)))
