"""Runs many commands over one stream, which moves to the new active by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

import grpc
from tenacity import AsyncRetrying, retry_if_exception_type

from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import PAUSE, LeaderHint, LeaderSearch, newest, wait_at_most
from mgr.client.messages import Answer
from mgr.client.pending import PendingCommands, Stream
from mgr.client.retry import RetryElsewhere
from mgr.rpc.status import error_of
from mgr.rpc.v1.command_pb2 import SessionRequest, SessionResponse


class CommandSession:
    """A stream to the active; made by ``AsyncClient.session``, used as ``async with``.

    Any number of tasks may execute commands at the same time. When the active changes, the
    commands without an answer are sent to the new one under the same request ids.
    """

    def __init__(self, leader_cache: LeaderCache, *, timeout_s: float) -> None:
        """Connect to the managers of ``leader_cache`` once the block begins."""
        self._leader_cache = leader_cache
        self._timeout_s = timeout_s
        self._search = LeaderSearch(leader_cache.peers)
        self._tried_term = 0
        self._tasks = asyncio.TaskGroup()
        self._pending = PendingCommands(_write, self._tasks)
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._search.__aenter__()
        await self._tasks.__aenter__()
        self._runner = self._tasks.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            self._runner.cancel()
        # Without the block's own exception: the task group would wrap it.
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
        """Run one command; guarantees and errors are those of ``AsyncClient.execute``."""
        return await self._pending.execute(
            words,
            arguments,
            data=data,
            limit_s=timeout_s or self._timeout_s,
            request_id=request_id,
            unhelpful=self._search.unhelpful,
        )

    async def _run(self) -> None:
        while True:
            # A new loop after each stream that brought an answer: its pauses start short again.
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(RetryElsewhere), wait=PAUSE, sleep=self._pause
            ):
                with attempt:
                    await self._serve()

    async def _pause(self, seconds: float) -> None:
        await wait_at_most(seconds, self._search, self._tried_term)

    async def _serve(self) -> None:
        """Run commands on one active until its stream ends.

        Raises:
            RetryElsewhere: The stream brought no answer at all.

        """
        leader = self._choose_leader()
        self._tried_term = max(self._tried_term, leader.term)
        stream = self._leader_cache.peers.at(leader.address).commands.Session()
        async with asyncio.TaskGroup() as tasks:
            helpers = (
                tasks.create_task(self._pending.send_all(stream)),
                tasks.create_task(self._cancel_when_superseded(stream, leader.term)),
            )
            answers = await self._read(stream, leader)
            self._pending.stream = None
            for helper in helpers:
                helper.cancel()
        stream.cancel()
        if not answers:
            self._leader_cache.forget(leader)
            raise RetryElsewhere
        self._leader_cache.remember(leader)

    def _choose_leader(self) -> LeaderHint:
        hint, self._pending.hint = self._pending.hint, None
        leader = newest(hint, self._search.best, self._leader_cache.active)
        if leader is None:
            raise RetryElsewhere
        return leader

    async def _cancel_when_superseded(self, stream: Stream, term: int) -> None:
        await self._search.wait_newer(term)
        stream.cancel()

    async def _read(self, stream: Stream, leader: LeaderHint) -> int:
        """Resolve commands with the stream's answers until it ends; return their number."""
        answers = 0
        moving = False
        try:
            while isinstance(message := await stream.read(), SessionResponse):
                if self._pending.resolve(message, leader):
                    answers += 1
                    # Whoever waited for it goes on first; the next answer is asked for after that.
                    await asyncio.sleep(0)
                elif not moving:
                    # No new command goes to this manager; those it runs are still answered.
                    moving = True
                    self._pending.stream = None
                    async with self._pending.write_lock:
                        await stream.done_writing()
        except grpc.aio.AioRpcError as failed:
            self._pending.stream_lost(stream, leader, error_of(failed))
        except asyncio.CancelledError:
            # gRPC raises this where the stream was cancelled by _cancel_when_superseded.
            if not stream.cancelled() or _cancelling():
                raise
        return answers


async def _write(stream: Stream, message: SessionRequest) -> None:
    await stream.write(message)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
