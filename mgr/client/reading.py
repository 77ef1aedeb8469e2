"""A stream from the active, read until it is no help any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, TypeVar

import grpc

from mgr.client.leader_search import LeaderSearch
from mgr.errors import NotActiveError, OutcomeUnknownError, UnreachableError
from mgr.rpc.status import error_of

SILENCE_MAX_S: Final = 12.0
"""The server shows every 5 s that the stream lives; after two such spans it does not."""

M = TypeVar("M")


async def read(
    stream: grpc.aio.UnaryStreamCall[Any, M], search: LeaderSearch, term: int
) -> AsyncGenerator[M, None]:
    """Yield each message; over when the stream is, or its manager is silent or leads no more.

    The last is also heard of from other managers, by ``search``: that another term than ``term``
    is the newest. A manager that is frozen or cut off ends no stream.

    Raises:
        MgrError: The manager refused for a reason that its successor would have as well.

    """
    messages = aiter(stream)
    try:
        with search.on_superseded(term, stream.cancel):
            while (message := await _next(messages)) is not None:
                yield message
    except asyncio.CancelledError:
        # gRPC's way of saying that the stream was cancelled here, because of a newer term.
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
