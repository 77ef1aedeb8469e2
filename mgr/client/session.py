"""Many commands over one stream, which moves to the new active by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

import grpc
from tenacity import AsyncRetrying, retry_if_exception_type

from mgr.client.call import Elsewhere
from mgr.client.leader_cache import Guide
from mgr.client.leader_search import PAUSE, Search, Sighting, wait_at_most
from mgr.client.messages import Answer
from mgr.client.pending import Outstanding, Stream
from mgr.rpc.status import error_of
from mgr.rpc.v1.command_pb2 import SessionRequest, SessionResponse


class Session:
    """A stream to the active; made by ``AsyncClient.session``, used as ``async with``.

    Any number of tasks may execute commands at the same time. When the active changes, the
    commands without an answer are sent to the new one under the same request ids.
    """

    def __init__(self, guide: Guide, *, timeout_s: float) -> None:
        """Speak to the managers that ``guide`` knows."""
        self._guide = guide
        self._timeout_s = timeout_s
        self._search = Search(guide.peers)
        self._passed = 0
        self._tasks = asyncio.TaskGroup()
        self._outstanding = Outstanding(_write, self._tasks)
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._search.__aenter__()
        await self._tasks.__aenter__()
        self._runner = self._tasks.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            self._runner.cancel()
        # What the block raised is its caller's business: the task group would wrap it.
        await self._tasks.__aexit__(None, None, None)
        await self._search.__aexit__(None, None, None)

    async def execute(
        self,
        words: Sequence[str],
        arguments: dict[str, Any] | None = None,
        *,
        data: bytes = b"",
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Run one command; promises and errors are those of ``AsyncClient.execute``."""
        return await self._outstanding.execute(
            words,
            arguments,
            data=data,
            limit_s=timeout_s or self._timeout_s,
            request_id=request_id,
            silent=self._search.silent,
        )

    async def _run(self) -> None:
        while True:
            # From the beginning after each stream that was of use: a quick first attempt.
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Elsewhere), wait=PAUSE, sleep=self._pause
            ):
                with attempt:
                    await self._serve()

    async def _pause(self, seconds: float) -> None:
        await wait_at_most(seconds, self._search, self._passed)

    async def _serve(self) -> None:
        """Speak to one active until its stream ends.

        Raises:
            Elsewhere: The stream brought no answer at all.

        """
        sighting = self._next()
        self._passed = max(self._passed, sighting.term)
        stream = self._guide.peers.at(sighting.address).commands.Session()
        async with asyncio.TaskGroup() as tasks:
            helpers = (
                tasks.create_task(self._outstanding.send_all(stream)),
                tasks.create_task(self._leave_for_newer(stream, sighting.term)),
            )
            answers = await self._read(stream, sighting)
            self._outstanding.stream = None
            for helper in helpers:
                helper.cancel()
        stream.cancel()
        if not answers:
            self._guide.no_help(sighting)
            raise Elsewhere
        self._guide.answered(sighting)

    def _next(self) -> Sighting:
        hint, self._outstanding.hint = self._outstanding.hint, None
        known = [seen for seen in (hint, self._search.best, self._guide.active) if seen]
        if not known:
            raise Elsewhere
        return max(known, key=lambda seen: seen.term)

    async def _leave_for_newer(self, stream: Stream, term: int) -> None:
        await self._search.newer(term)
        stream.cancel()

    async def _read(self, stream: Stream, sighting: Sighting) -> int:
        """Hand out answers until the stream ends; how many there were."""
        answers = 0
        moving = False
        try:
            while isinstance(message := await stream.read(), SessionResponse):
                if self._outstanding.hand_out(message, sighting):
                    answers += 1
                    await asyncio.sleep(0)
                elif not moving:
                    # Nothing more is said here; what runs there is still answered.
                    moving = True
                    self._outstanding.stream = None
                    async with self._outstanding.writing:
                        await stream.done_writing()
        except grpc.aio.AioRpcError as failed:
            self._outstanding.lost(stream, sighting, error_of(failed))
        except asyncio.CancelledError:
            # gRPC's way of saying that the stream was cancelled here, by _leave_for_newer.
            if not stream.cancelled() or _cancelling():
                raise
        return answers


async def _write(stream: Stream, message: SessionRequest) -> None:
    await stream.write(message)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
