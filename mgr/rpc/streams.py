"""The open streams of a server, so that it can end them when it closes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from mgr.errors import MgrError

HEARTBEAT_S: Final = 5.0
"""Interval of empty messages on an idle stream, which show that it is alive."""


class Streams:
    """Tracks every stream that would otherwise last until its client goes away."""

    def __init__(self, refusal: Callable[[], MgrError]) -> None:
        """End streams with the error from ``refusal``, which names the new active if known."""
        self._refusal = refusal
        self._open: set[asyncio.Task[object]] = set()
        self._ending = asyncio.Event()

    @contextlib.contextmanager
    def endable(self) -> Iterator[None]:
        """Register the block of the current task, so that ``end`` ends it with the refusal.

        Raises:
            MgrError: The server is closing.

        """
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a stream is served by a task")
        if self._ending.is_set():
            raise self._refusal()
        self._open.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._ending.is_set():
                raise  # the client went away
            task.uncancel()
            raise self._refusal() from None
        finally:
            self._open.discard(task)

    def end(self) -> None:
        """End every open stream and refuse new ones."""
        self._ending.set()
        for task in self._open:
            task.cancel()
