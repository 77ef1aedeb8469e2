"""A thread that runs a program's own code, which may take long and must not block the loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mgr.errors import OverloadedError

T = TypeVar("T")

QUEUE_MAX: Final = 64


class SerialThread:
    """Runs calls one after another on a thread of its own, which starts with the first call.

    It is a daemon thread: a handler that never returns must not keep the program from ending.
    """

    def __init__(self, name: str, *, queue_max: int = QUEUE_MAX) -> None:
        """Name the thread ``name``; at most ``queue_max`` calls may wait."""
        self._name = name
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(queue_max)
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Queue ``call`` and return the future of its result; must be called on the loop.

        A call whose future is cancelled before its turn is skipped.

        Raises:
            OverloadedError: The queue is full. The call is not run.

        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def body() -> None:
            if future.cancelled():
                return
            settle: Callable[[], None]
            try:
                settle = functools.partial(future.set_result, call())
            except BaseException as caught:  # noqa: BLE001 - the program's code may raise anything
                settle = functools.partial(future.set_exception, as_exception(caught))
            # The loop may be closed by now; then no task waits for the result either.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_unless_cancelled, future, settle)

        try:
            self._queue.put_nowait(body)
        except queue.Full:
            raise OverloadedError(f"{self._queue.maxsize} calls are waiting already") from None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return future

    def close(self) -> None:
        """Drop the calls that wait and end the thread; the running call is not waited for."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put_nowait(None)

    def _run(self) -> None:
        while (body := self._queue.get()) is not None:
            body()


def _unless_cancelled(future: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    if not future.cancelled():
        settle()


def is_ctrl_c(error: BaseException) -> bool:
    """Whether the user caused ``error``, not the code: signals arrive on the main thread."""
    here = threading.current_thread() is threading.main_thread()
    return here and isinstance(error, KeyboardInterrupt)


def as_exception(error: BaseException) -> Exception:
    """Return ``error``, or a RuntimeError for it: ``SystemExit`` and the like would end a loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
