"""Server side of a command session: many concurrent commands over one stream."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc

from mgr.access.identity import Caller
from mgr.clock import Clock
from mgr.errors import MgrError
from mgr.rpc.calls import Calls, Executor
from mgr.rpc.interceptor import MalformedMessage
from mgr.rpc.streams import Streams
from mgr.rpc.v1.command_pb2 import SessionResponse

log = logging.getLogger(__name__)


class SessionHandler:
    """Handles one client's stream until the client closes it or goes away, or the server closes.

    A client that has closed its side still gets every answer. If the client is gone, its commands
    are cancelled, and those that have not begun never begin.
    """

    def __init__(
        self,
        execute: Executor,
        context: grpc.aio.ServicerContext[Any, Any],
        clock: Clock,
        streams: Streams,
        caller: Caller,
    ) -> None:
        """Serve the stream of ``context``, opened by ``caller``."""
        self._context = context
        self._streams = streams
        self._calls = Calls(execute, self._write, clock=clock, caller=caller)

    async def run(self) -> None:
        """Serve until the stream ends.

        Raises:
            MgrError: The reason why the stream ends, unless the client closed it.

        """
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read(tasks))
        if ended := reader.result():
            raise ended

    async def _read(self, tasks: asyncio.TaskGroup) -> MgrError | None:
        # The error is returned: if raised inside the group, it would cancel the running commands.
        try:
            with self._streams.endable():
                while (message := await self._context.read()) is not grpc.aio.EOF:
                    if type(message) is MalformedMessage:
                        return message.error
                    await self._calls.take(message, tasks)
                    await asyncio.sleep(0)
        except MgrError as error:
            return error
        except grpc.aio.BaseError as error:
            # The client is gone. Its commands are cancelled, as if it had cancelled the stream.
            log.debug("session broke", extra={"error": str(error)})
            raise asyncio.CancelledError from None
        return None

    async def _write(self, answer: SessionResponse) -> None:
        try:
            await self._context.write(answer)
        except grpc.aio.BaseError as error:
            # The client is gone. The task that reads notices the same and ends the stream.
            log.debug("answer of a session not written", extra={"error": str(error)})
