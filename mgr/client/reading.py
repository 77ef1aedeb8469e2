"""A stream from the active, read until it is no help any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, TypeVar

import grpc

from mgr.errors import NotActiveError, OutcomeUnknownError, UnreachableError
from mgr.rpc.status import error_of

SILENCE_MAX_S: Final = 12.0
"""The server shows every 5 s that the stream lives; after two such spans it does not."""

M = TypeVar("M")


async def read(stream: grpc.aio.UnaryStreamCall[Any, M]) -> AsyncGenerator[M, None]:
    """Yield each message; over when the stream is: its manager leads no more, or is silent.

    Raises:
        MgrError: The manager refused for a reason that its successor would have as well.

    """
    messages = aiter(stream)
    try:
        while (message := await _next(messages)) is not None:
            yield message
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
