"""One session: many commands in flight over one stream, each answered when it is ready."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from mgr.access.table import Caller
from mgr.clock import Clock
from mgr.errors import MgrError
from mgr.rpc.calls import Calls, Execute
from mgr.rpc.interceptor import MalformedMessage
from mgr.rpc.streams import Streams
from mgr.rpc.v1.command_pb2 import SessionResponse


class SessionHandler:
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
        caller: Caller,
    ) -> None:
        """Serve the stream of ``context``, on which ``caller`` asks."""
        self._context = context
        self._streams = streams
        self._calls = Calls(execute, self._write, clock=clock, caller=caller)
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
                    if type(message) is MalformedMessage:
                        return message.error
                    await self._calls.take(message, tasks)
                    await asyncio.sleep(0)
        except MgrError as error:
            return error
        return None

    async def _write(self, answer: SessionResponse) -> None:
        async with self._writing:
            await self._context.write(answer)
