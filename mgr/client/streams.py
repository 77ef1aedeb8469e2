"""Streams from the active manager: reading one, and following the cluster log through failovers."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, TypeVar

import grpc

from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import (
    FOLLOW_PAUSE,
    FOLLOW_PAUSE_MAX_S,
    PAUSE_MAX_S,
    LeaderHint,
    LeaderSearch,
    wait_at_most,
)
from mgr.client.messages import PRIORITIES, LinesDropped, LogLine, line_in
from mgr.errors import (
    InvalidArgumentError,
    NotActiveError,
    OutcomeUnknownError,
    UnreachableError,
)
from mgr.rpc.status import error_of
from mgr.rpc.v1.manager_pb2 import FollowLogRequest, FollowLogResponse

ALL_LINES: Final = 1000
"""After a switch the successor's whole log is new; a manager stores no more lines than this."""
SEQUENCE_MAX: Final = 2**63
"""Above the number of any line."""
SILENCE_MAX_S: Final = 12.0
"""The server sends a sign of life every 5 s; without one for so long the stream counts as dead."""

M = TypeVar("M")


async def read(
    stream: grpc.aio.UnaryStreamCall[Any, M], search: LeaderSearch, term: int
) -> AsyncGenerator[M, None]:
    """Yield each message until the stream ends, its manager is silent or no longer leads.

    ``search`` reports, also from other managers, when another term than ``term`` is the newest:
    a manager that is frozen or cut off does not end its streams.

    Raises:
        MgrError: The manager refused for a reason that also holds for its successor.

    """
    messages = aiter(stream)
    try:
        with search.on_superseded(term, stream.cancel):
            while (message := await _next(messages)) is not None:
                yield message
    except asyncio.CancelledError:
        # gRPC raises this where the stream was cancelled here, because of a newer term. If this
        # task itself is being cancelled, the error has to go on.
        task = asyncio.current_task()
        if not stream.cancelled() or (task is not None and task.cancelling()):
            raise
    except grpc.aio.AioRpcError as failed:
        error = error_of(failed)
        if not isinstance(error, (NotActiveError, OutcomeUnknownError, UnreachableError)):
            raise error from None
    finally:
        stream.cancel()


async def _next(messages: AsyncIterator[M]) -> M | None:
    try:
        async with asyncio.timeout(SILENCE_MAX_S):
            return await anext(messages, None)
    except TimeoutError:
        return None


async def follow_log(
    leader_cache: LeaderCache, *, past: int, lowest: str, channel: str, find_s: float | None = None
) -> AsyncGenerator[LogLine | LinesDropped, None]:
    """Yield the last ``past`` lines, then each new line, from whichever manager is active.

    Raises:
        InvalidArgumentError: There is no priority ``lowest``.
        UnreachableError: No manager answers, or none leads for the first ``find_s`` seconds.

    """
    if lowest not in PRIORITIES:
        raise InvalidArgumentError(f"{lowest!r} is none of {', '.join(PRIORITIES)}")
    request = FollowLogRequest(past=past, channel=channel)
    request.priority = PRIORITIES.index(lowest) + 1  # type: ignore[assignment]  # an int on the wire
    seen = (0, 0)
    first_term = 0
    pause_s = PAUSE_MAX_S
    async with LeaderSearch(leader_cache.peers, pause=FOLLOW_PAUSE) as search:
        while True:
            active = await wait_active(leader_cache, search, find_s=None if first_term else find_s)
            first_term = first_term or active.term
            if seen == (0, 0) and active.term > first_term:
                # No line came before the switch: of the successor's log every line is new.
                seen, request.past = (first_term, SEQUENCE_MAX), ALL_LINES
            begun_s = leader_cache.clock.now()
            stream = leader_cache.peers.at(active.address).manager.FollowLog(request)
            async with contextlib.aclosing(_lines(read(stream, search, active.term))) as lines:
                async for line in lines:
                    if isinstance(line, LogLine):
                        place = (line.term, line.sequence)
                        # An active of a lower term than the last line means that etcd was
                        # restored: then all lines are new.
                        if place <= seen and active.term >= seen[0]:
                            continue
                        seen = place
                        request.past = ALL_LINES
                    yield line
            pause_s = pause_after(pause_s, lived_s=leader_cache.clock.now() - begun_s)
            await wait_at_most(pause_s, search, active.term)


def pause_after(pause_s: float, *, lived_s: float) -> float:
    """Return the pause before a stream is opened again that lived for ``lived_s``.

    Longer than ``pause_s``, the last one, if the stream was refused at once: a suspended active
    refuses every stream, for hours if etcd is full. A newer term ends the pause.
    """
    if lived_s > FOLLOW_PAUSE_MAX_S:
        return PAUSE_MAX_S
    return min(2 * pause_s, FOLLOW_PAUSE_MAX_S)


async def wait_active(
    leader_cache: LeaderCache, search: LeaderSearch, *, find_s: float | None = None
) -> LeaderHint:
    """Wait until ``search`` has found the active, for ``find_s`` at most, and return it.

    Raises:
        UnreachableError: No manager answers, or none leads.

    """
    begun_s = leader_cache.clock.now()
    until_s = begun_s + leader_cache.reach_s
    given_up_s = math.inf if find_s is None else begun_s + find_s
    while search.best is None:
        if not search.answered and leader_cache.clock.now() > until_s:
            raise UnreachableError("no manager answered", failures=search.unhelpful)
        if leader_cache.clock.now() > given_up_s:
            why = f"no active manager within {find_s:g} s"
            raise UnreachableError(why, failures=search.unhelpful)
        await wait_at_most(PAUSE_MAX_S, search, 0)
    return search.best


async def _lines(
    messages: AsyncGenerator[FollowLogResponse, None],
) -> AsyncGenerator[LogLine | LinesDropped, None]:
    async with contextlib.aclosing(messages) as open_messages:
        async for message in open_messages:
            if message.HasField("entry"):
                yield line_in(message.entry)
            elif message.HasField("dropped"):
                yield LinesDropped(message.dropped)
