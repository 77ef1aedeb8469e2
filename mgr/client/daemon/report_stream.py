"""One stream between a daemon and the active: what is to be said waits here, bounded."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import grpc

from mgr.client.leader_search import Sighting
from mgr.client.pending import Stream
from mgr.errors import MgrError, UnreachableError
from mgr.rpc.status import error_of
from mgr.rpc.v1.cluster_pb2 import ReportRequest, ReportResponse

OPEN_S: Final = 5.0
"""A manager that leads answers an opening within milliseconds."""
STUCK_S: Final = 15.0
"""A manager that takes nothing for so long is given up, though its host answers pings."""
WAITING_MAX: Final = 256


class Line:
    """A stream on which ``say`` never waits.

    Attributes:
        stream: What carries it.
        sighting: The manager at its other end.

    """

    def __init__(self, stream: Stream, sighting: Sighting) -> None:
        """Speak over ``stream``, which is just opened."""
        self.stream = stream
        self.sighting = sighting
        self._waiting: asyncio.Queue[ReportRequest | None] = asyncio.Queue(WAITING_MAX)
        self._cut: MgrError | None = None

    def done(self) -> bool:
        """Whether the stream is over."""
        return self.stream.done()

    async def open(self, message: ReportRequest) -> ReportResponse:
        """Say the first message; the first answer.

        Raises:
            MgrError: What it was refused with; ``UnreachableError`` if nothing was said.

        """
        try:
            async with asyncio.timeout(OPEN_S):
                await self.stream.write(message)
                answer = await self.stream.read()
        except TimeoutError:
            raise UnreachableError(f"no answer within {OPEN_S:g} s") from None
        except grpc.aio.AioRpcError as failed:
            raise error_of(failed) from None
        except asyncio.InvalidStateError:
            raise await self.why() from None
        if not isinstance(answer, ReportResponse):
            raise await self.why()
        return answer

    def say(self, message: ReportRequest) -> None:
        """Send ``message`` behind those that wait."""
        self._put(message)

    def finish(self) -> None:
        """Say no more than what waits already."""
        self._put(None)

    def cut(self, why: MgrError) -> None:
        """End the stream, now; ``why`` is what ``read`` and ``why`` say of it."""
        self._cut = self._cut or why
        self.stream.cancel()

    async def write_out(self) -> None:
        """Send what waits, until ``finish`` or the stream's end; the body of a task."""
        # A failure is the reader's to see.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            try:
                while (message := await self._waiting.get()) is not None:
                    async with asyncio.timeout(STUCK_S):
                        await self.stream.write(message)
                await self.stream.done_writing()
            except TimeoutError:
                self.cut(UnreachableError(f"takes nothing since {STUCK_S:g} s"))

    async def read(self) -> ReportResponse | None:
        """What comes next; None once the stream is over."""
        try:
            message = await self.stream.read()
        except grpc.aio.AioRpcError:
            return None
        except asyncio.CancelledError:
            # gRPC's way of saying that the stream was cancelled here, by ``cut``.
            task = asyncio.current_task()
            if self._cut is None or (task is not None and task.cancelling()):
                raise
            return None
        return message if isinstance(message, ReportResponse) else None

    async def why(self) -> MgrError:
        """Why the stream is over."""
        if self._cut is not None:
            return self._cut
        try:
            code = await self.stream.code()
            if code is grpc.StatusCode.OK:
                return UnreachableError("the manager ended the stream")
            details, trailers = await self.stream.details(), await self.stream.trailing_metadata()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return UnreachableError("the stream was cancelled")
        return error_of(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details))

    def _put(self, message: ReportRequest | None) -> None:
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self.cut(UnreachableError(f"leaves {WAITING_MAX} messages unread"))
