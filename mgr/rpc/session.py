"""Server side of a command session: many concurrent commands over one stream."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import grpc

from mgr.access.identity import Caller
from mgr.clock import Clock
from mgr.errors import MgrError
from mgr.rpc.calls import Calls, Executor
from mgr.rpc.edge import MalformedMessage
from mgr.rpc.streams import Streams
from mgr.rpc.v1.command_pb2 import SessionResponse

log = logging.getLogger(__name__)


class SessionStream(Protocol):
    """The stream of one client, as the gate passes it on (``mgr.rpc.gated``)."""

    def reading(self) -> AbstractContextManager[None]:
        """Return the block in which it is read: it raises ``NotActiveError`` when the term ends."""
        ...

    async def read(self) -> Any:
        """Return the next message, or ``grpc.aio.EOF``."""
        ...

    async def write(self, message: SessionResponse) -> None:
        """Send one message."""
        ...


class SessionHandler:
    """Handles one client's stream until the client closes it or goes away, or the server closes.

    A client that has closed its side still gets every answer. If the client is gone, its commands
    are cancelled, and those that have not begun never begin.
    """

    def __init__(
        self,
        execute: Executor,
        context: SessionStream,
        clock: Clock,
        streams: Streams,
        caller: Caller,
    ) -> None:
        """Serve the stream of ``context``, opened by ``caller``."""
        self._context = context
        self._streams = streams
        # Made when it is used: it has a reference to this handler.
        self._make_calls = partial(Calls, execute, clock=clock, caller=caller)

    async def run(self) -> None:
        """Serve until the stream ends.

        Raises:
            MgrError: The reason why the stream ends, unless the client closed it.

        """
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(tasks))
        except asyncio.CancelledError as error:
            # The group's frame has it in a variable: both would be garbage for minutes.
            raise error.with_traceback(None)  # noqa: B904 - the same one
        if ended := reader.result():
            raise ended

    async def _read(self, tasks: asyncio.TaskGroup) -> MgrError | None:
        # The error is returned: if raised inside the group, it would cancel the running commands.
        try:
            with self._streams.endable(), self._context.reading():
                # Looked up once: it is what each message begins with.
                read, calls = self._context.read, self._make_calls(self._write)
                while (message := await read()) is not grpc.aio.EOF:
                    if type(message) is MalformedMessage:
                        return message.error
                    if (refusal := calls.take(message, tasks)) is not None:
                        # Sent by this task: so no further message is read before the client
                        # takes its answers.
                        await self._write(refusal)
                    # The command goes to its module first; the next message is asked for while
                    # that works.
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
