"""A thread for what a program's own code does: it may take long, and the loop must not."""

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
    """Runs one thing after another on a thread of its own, which starts with the first.

    A daemon thread: a handler that never returns must not keep the program from ending.
    """

    def __init__(self, name: str, *, queue_max: int = QUEUE_MAX) -> None:
        """Let at most ``queue_max`` things wait."""
        self._name = name
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(queue_max)
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``call`` soon; on the loop. What nobody waits for any more is not begun.

        Raises:
            OverloadedError: Too much is waiting. It is not run.

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
            # The loop may be closed by now: then nobody waits either.
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
        """Begin nothing that still waits. What is under way is not waited for."""
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
    """Whether the user raised it and not the code: signals arrive on the main thread."""
    here = threading.current_thread() is threading.main_thread()
    return here and isinstance(error, KeyboardInterrupt)


def as_exception(error: BaseException) -> Exception:
    """``error``, or what says the same: ``SystemExit`` and the like would end a loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
