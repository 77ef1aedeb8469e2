"""One session: many commands in flight over one stream, each answered when it is ready."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import grpc

from mgr.clock import Clock
from mgr.errors import InvalidArgumentError, MgrError, OverloadedError
from mgr.rpc.interceptor import Malformed, internal
from mgr.rpc.status import status_of
from mgr.rpc.streams import Streams
from mgr.rpc.v1.command_pb2 import ExecuteRequest, ExecuteResponse, SessionRequest, SessionResponse

IN_FLIGHT_MAX: Final = 1024
"""Commands of one stream that are not answered yet; more are refused, nothing of them runs."""


class Execute(Protocol):
    """Runs one command."""

    async def __call__(
        self, request: ExecuteRequest, *, deadline_s: float | None, origin: str
    ) -> ExecuteResponse:
        """Return the answer or raise a ``MgrError``."""
        ...


class Session:
    """One client's stream. Ends when the client says so, goes away, or the server closes.

    A client that has said its last word still gets every answer. One that is gone gets none:
    its commands are cancelled, and those that had not begun never begin.
    """

    def __init__(
        self,
        execute: Execute,
        context: grpc.aio.ServicerContext[Any, Any],
        clock: Clock,
        streams: Streams,
    ) -> None:
        """Serve the stream of ``context``."""
        self._execute = execute
        self._context = context
        self._clock = clock
        self._streams = streams
        self._origin = context.peer()
        self._running: dict[int, asyncio.Task[None]] = {}
        # gRPC takes one message at a time for a stream; tasks that answer queue up here.
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Serve until the stream ends.

        Raises:
            MgrError: Why the stream ends, if not by the client's wish.

        """
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read(tasks))
        if ended := reader.result():
            raise ended

    async def _read(self, tasks: asyncio.TaskGroup) -> MgrError | None:
        # Returns its error: raised inside the group, it would cancel the commands that run.
        try:
            with self._streams.endable():
                while (message := await self._context.read()) is not grpc.aio.EOF:
                    if type(message) is Malformed:
                        return message.error()
                    await self._take(message, tasks)
                    await asyncio.sleep(0)
        except MgrError as error:
            return error
        return None

    async def _take(self, message: SessionRequest, tasks: asyncio.TaskGroup) -> None:
        kind = message.WhichOneof("kind")
        if kind == "cancel":
            if task := self._running.get(message.id):
                task.cancel()
            return
        if kind is None or message.id in self._running:
            why = "says nothing" if kind is None else "is still open"
            await self._refuse(message.id, InvalidArgumentError(f"request {message.id} {why}"))
        elif len(self._running) >= IN_FLIGHT_MAX:
            # Refused by the reader itself, which so waits for the client to read its answers.
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
                message.execute, deadline_s=deadline_s, origin=self._origin
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

    async def _write(self, answer: SessionResponse) -> None:
        async with self._writing:
            await self._context.write(answer)
