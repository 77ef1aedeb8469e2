"""One stream between a daemon and the active, with a bounded queue of messages to send."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import grpc

from mgr.client.leader_search import LeaderHint
from mgr.client.pending import Stream
from mgr.errors import MgrError, UnreachableError
from mgr.rpc.status import error_of
from mgr.rpc.v1.cluster_pb2 import ReportRequest, ReportResponse

OPEN_S: Final = 5.0
"""How long to wait for the first answer: an active manager sends it within milliseconds."""
STUCK_S: Final = 15.0
"""A stream on which one write takes so long is aborted, even if the host answers pings."""
QUEUE_MAX: Final = 256


class ReportStream:
    """A stream on which ``send`` never waits.

    Attributes:
        call: The gRPC call.
        leader: The manager at its other end.

    """

    def __init__(self, stream: Stream, leader: LeaderHint) -> None:
        """Send and read on ``stream``, which was just made."""
        self.call = stream
        self.leader = leader
        self._queue: asyncio.Queue[ReportRequest | None] = asyncio.Queue(QUEUE_MAX)
        self._abort_error: MgrError | None = None

    def done(self) -> bool:
        """Whether the stream is over."""
        return self.call.done()

    async def open(self, message: ReportRequest) -> ReportResponse:
        """Send the first message and return the first answer.

        Raises:
            MgrError: The manager refused it; ``UnreachableError`` if it did not answer.

        """
        try:
            async with asyncio.timeout(OPEN_S):
                await self.call.write(message)
                answer = await self.call.read()
        except TimeoutError:
            raise UnreachableError(f"no answer within {OPEN_S:g} s") from None
        except grpc.aio.AioRpcError as failed:
            raise error_of(failed) from None
        except asyncio.InvalidStateError:
            raise await self.error() from None
        if not isinstance(answer, ReportResponse):
            raise await self.error()
        return answer

    def send(self, message: ReportRequest) -> None:
        """Queue ``message``; if the queue is full, abort the stream."""
        self._put(message)

    def finish(self) -> None:
        """End the sending side after the messages that are queued."""
        self._put(None)

    def abort(self, error: MgrError) -> None:
        """End the stream now; ``error()`` returns ``error`` from then on."""
        # The first error is the cause; what follows is its consequence.
        self._abort_error = self._abort_error or error
        self.call.cancel()

    async def write_out(self) -> None:
        """Write queued messages until ``finish`` or the end of the stream; the body of a task."""
        # The reader sees a failed write as the end of the stream.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            try:
                while (message := await self._queue.get()) is not None:
                    async with asyncio.timeout(STUCK_S):
                        await self.call.write(message)
                await self.call.done_writing()
            except TimeoutError:
                self.abort(UnreachableError(f"the manager took no message for {STUCK_S:g} s"))

    async def read(self) -> ReportResponse | None:
        """Return the next message; None once the stream is over."""
        try:
            message = await self.call.read()
        except grpc.aio.AioRpcError:
            return None
        except asyncio.CancelledError:
            # gRPC raises this where ``abort`` cancelled the stream. If this task itself is being
            # cancelled, the error has to go on.
            task = asyncio.current_task()
            if self._abort_error is None or (task is not None and task.cancelling()):
                raise
            return None
        return message if isinstance(message, ReportResponse) else None

    async def error(self) -> MgrError:
        """Return why the stream is over."""
        if self._abort_error is not None:
            return self._abort_error
        try:
            code = await self.call.code()
            if code is grpc.StatusCode.OK:
                return UnreachableError("the manager ended the stream")
            details, trailers = await self.call.details(), await self.call.trailing_metadata()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return UnreachableError("the stream was cancelled")
        return error_of(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details))

    def _put(self, message: ReportRequest | None) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.abort(UnreachableError(f"the manager left {QUEUE_MAX} messages unread"))
