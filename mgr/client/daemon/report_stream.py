"""One stream between a daemon and the active: what is to be said waits here, bounded."""

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
"""A manager that leads answers an opening within milliseconds."""
STUCK_S: Final = 15.0
"""A manager that takes nothing for so long is given up, though its host answers pings."""
QUEUE_MAX: Final = 256


class ReportStream:
    """A stream on which ``send`` never waits.

    Attributes:
        call: What carries it.
        leader: The manager at its other end.

    """

    def __init__(self, stream: Stream, leader: LeaderHint) -> None:
        """Speak over ``stream``, which is just opened."""
        self.call = stream
        self.leader = leader
        self._queue: asyncio.Queue[ReportRequest | None] = asyncio.Queue(QUEUE_MAX)
        self._abort_error: MgrError | None = None

    def done(self) -> bool:
        """Whether the stream is over."""
        return self.call.done()

    async def open(self, message: ReportRequest) -> ReportResponse:
        """Say the first message; the first answer.

        Raises:
            MgrError: What it was refused with; ``UnreachableError`` if nothing was said.

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
        """Send ``message`` behind those that wait."""
        self._put(message)

    def finish(self) -> None:
        """Say no more than what waits already."""
        self._put(None)

    def abort(self, error: MgrError) -> None:
        """End the stream, now; ``error`` is what ``read`` and ``error`` say of it."""
        self._abort_error = self._abort_error or error
        self.call.cancel()

    async def write_out(self) -> None:
        """Send what waits, until ``finish`` or the stream's end; the body of a task."""
        # A failure is the reader's to see.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            try:
                while (message := await self._queue.get()) is not None:
                    async with asyncio.timeout(STUCK_S):
                        await self.call.write(message)
                await self.call.done_writing()
            except TimeoutError:
                self.abort(UnreachableError(f"takes nothing since {STUCK_S:g} s"))

    async def read(self) -> ReportResponse | None:
        """What comes next; None once the stream is over."""
        try:
            message = await self.call.read()
        except grpc.aio.AioRpcError:
            return None
        except asyncio.CancelledError:
            # gRPC's way of saying that the stream was cancelled here, by ``abort``.
            task = asyncio.current_task()
            if self._abort_error is None or (task is not None and task.cancelling()):
                raise
            return None
        return message if isinstance(message, ReportResponse) else None

    async def error(self) -> MgrError:
        """Why the stream is over."""
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
            self.abort(UnreachableError(f"leaves {QUEUE_MAX} messages unread"))
