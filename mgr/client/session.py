"""Many commands over one stream, which moves to the new active by itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Sequence
from typing import Any, Self

import grpc
from tenacity import AsyncRetrying, retry_if_exception_type

from mgr.client.answer import Answer, answer_in, request_of
from mgr.client.errand import LOSSES_MAX, Elsewhere, Guide, lost_too_often
from mgr.client.search import PAUSE, Search, Sighting, wait_at_most
from mgr.errors import (
    DeadlineExceededError,
    MayHaveRunError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    TermLostError,
    UnreachableError,
)
from mgr.rpc.status import error_in, error_of
from mgr.rpc.v1.command_pb2 import Cancel, SessionRequest, SessionResponse

Stream = grpc.aio.StreamStreamCall[SessionRequest, SessionResponse]


class _Command:
    """A command that waits for its answer."""

    __slots__ = ("answer", "lost", "message", "stream", "under_way")

    def __init__(self, message: SessionRequest) -> None:
        self.message = message
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.stream: Stream | None = None
        """The stream it was last sent on."""
        self.under_way = False
        """It may be running there: it was sent and not refused."""
        self.lost: set[int] = set()
        """The terms in which the connection broke under it."""


class Session:
    """A stream to the active; made by ``AsyncClient.session``, used as ``async with``.

    Any number of tasks may execute commands at the same time. When the active changes, the
    commands without an answer are sent to the new one under the same request ids.
    """

    def __init__(self, guide: Guide, *, timeout_s: float) -> None:
        """Speak to the managers that ``guide`` knows."""
        self._guide = guide
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._open: dict[int, _Command] = {}
        self._stream: Stream | None = None
        """Where new commands go; None while they wait for an active to be found."""
        # gRPC takes one message at a time for a stream; callers queue up here.
        self._writing = asyncio.Lock()
        self._search = Search(guide.peers)
        self._hint: Sighting | None = None
        self._why: dict[str, str] = {}
        self._passed = 0
        self._tasks = asyncio.TaskGroup()
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
        limit_s = timeout_s or self._timeout_s
        chosen_id = uuid.uuid4().hex if request_id is None else request_id
        number = next(self._numbers)
        message = SessionRequest(id=number, execute=request_of(words, arguments, data, chosen_id))
        message.timeout.FromNanoseconds(int(limit_s * 1e9))
        command = self._open[number] = _Command(message)
        try:
            async with asyncio.timeout(limit_s):
                if self._stream is not None:
                    # Straight from here: a writing task of its own costs a turn of the loop.
                    await self._put(command, self._stream)
                return await command.answer
        except TimeoutError:
            raise self._late(command, limit_s) from None
        finally:
            del self._open[number]
            if not command.answer.done() or command.answer.cancelled():
                self._tasks.create_task(self._withdraw(command))

    async def _put(self, command: _Command, stream: Stream) -> None:
        # A failure is the reader's to see: it moves, and all that is open is sent again.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with self._writing:
                command.stream, command.under_way = stream, True
                await stream.write(command.message)

    async def _withdraw(self, command: _Command) -> None:
        if command.stream is not None and command.stream is self._stream:
            command.message = SessionRequest(id=command.message.id, cancel=Cancel())
            await self._put(command, command.stream)

    def _late(self, command: _Command, limit_s: float) -> MgrError:
        if command.stream is not None:
            return DeadlineExceededError(
                f"no answer within {limit_s:g} s: whether the command ran is unknown"
            )
        tried = self._search.silent | self._why
        return UnreachableError(f"no active manager within {limit_s:g} s", tried=tried)

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
                tasks.create_task(self._send_open(stream)),
                tasks.create_task(self._leave_for_newer(stream, sighting.term)),
            )
            answers = await self._read(stream, sighting)
            self._stream = None
            for helper in helpers:
                helper.cancel()
        stream.cancel()
        if not answers:
            raise Elsewhere
        self._guide.active = sighting

    def _reasons(self) -> str:
        return "; ".join(f"{address}: {why}" for address, why in self._why.items())

    def _next(self) -> Sighting:
        hint, self._hint = self._hint, None
        known = [seen for seen in (hint, self._search.best, self._guide.active) if seen]
        if not known:
            raise Elsewhere
        return max(known, key=lambda seen: seen.term)

    async def _send_open(self, stream: Stream) -> None:
        """Send what waits for an answer, then let new commands through."""
        while unsent := [each for each in self._open.values() if each.stream is not stream]:
            for command in unsent:
                if len(command.lost) > LOSSES_MAX:
                    command.stream = stream
                    if not command.answer.done():
                        command.answer.set_exception(lost_too_often(self._reasons()))
                else:
                    await self._put(command, stream)
        if not stream.done():
            self._stream = stream

    async def _leave_for_newer(self, stream: Stream, term: int) -> None:
        await self._search.newer(term)
        stream.cancel()

    async def _read(self, stream: Stream, sighting: Sighting) -> int:
        """Hand out answers until the stream ends; how many there were."""
        answers = 0
        moving = False
        try:
            while isinstance(message := await stream.read(), SessionResponse):
                if self._handed_out(message, sighting):
                    answers += 1
                    await asyncio.sleep(0)
                elif not moving:
                    # Nothing more is said here; what runs there is still answered.
                    moving = True
                    self._stream = None
                    async with self._writing:
                        await stream.done_writing()
        except grpc.aio.AioRpcError as failed:
            error = error_of(failed)
            self._why[sighting.address] = str(error)
            if isinstance(error, OutcomeUnknownError):
                for command in self._open.values():
                    if command.stream is stream and command.under_way:
                        command.lost.add(sighting.term)
        except asyncio.CancelledError:
            # gRPC's way of saying that the stream was cancelled here, by _leave_for_newer.
            if not stream.cancelled() or _cancelling():
                raise
        return answers

    def _handed_out(self, message: SessionResponse, sighting: Sighting) -> bool:
        """Give an answer to who waits for it; False if it must be asked elsewhere."""
        command = self._open.get(message.id)
        if message.WhichOneof("kind") == "response":
            if command and not command.answer.done():
                command.answer.set_result(answer_in(message.response))
            return True
        error = error_in(message.error)
        if isinstance(error, NotActiveError):
            self._why[sighting.address] = str(error)
            if command:
                command.under_way = False
            if error.active_address and error.active_address != sighting.address:
                self._hint = Sighting(error.term, error.active_address, error.active_name)
            return False
        if isinstance(error, TermLostError) and not isinstance(error, MayHaveRunError):
            return False
        if command and not command.answer.done():
            command.answer.set_exception(error)
        return True


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
