"""Reads the one request of a unary call, which may take only so long.

gRPC begins a call with its headers. By itself it would wait for the message without a limit, and
nothing counts a call whose request has not arrived.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc

from mgr.client_limits import ClientLimits
from mgr.errors import InvalidArgumentError

ARRIVE_S: Final = 30.0
"""How long the request of a unary call may take to arrive."""
SWEEP_EVERY_S: Final = 1.0


class ArrivingRequests:
    """The calls of a server whose request has not arrived; each runs in a task of its own."""

    def __init__(self, limits: ClientLimits) -> None:
        """Report calls that took too long to ``limits``."""
        self._limits = limits
        # In the order in which they began. One timer for all: most arrive at once.
        self._begun: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._sweeping = False

    async def read(self, context: Any) -> Any:
        """Return the request of a call.

        Raises:
            InvalidArgumentError: The client sends none, or not within ``ARRIVE_S``.

        """
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            raise AssertionError("gRPC serves each call in a task")
        self._begun[task] = loop.time()
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_EVERY_S, self._sweep, loop)
        try:
            request = await context.read()
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            self._late.discard(task)
            task.uncancel()
            raise InvalidArgumentError(f"no request arrived within {ARRIVE_S:g} s") from None
        finally:
            self._begun.pop(task, None)
        if request is grpc.aio.EOF:
            raise InvalidArgumentError("the call has no request")
        return request

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        before_s = loop.time() - ARRIVE_S
        for task, began_s in tuple(self._begun.items()):
            if began_s > before_s:
                break
            del self._begun[task]
            self._limits.reached("arriving", "")
            self._late.add(task)
            task.cancel()
        self._sweeping = bool(self._begun)
        if self._sweeping:
            loop.call_later(SWEEP_EVERY_S, self._sweep, loop)
