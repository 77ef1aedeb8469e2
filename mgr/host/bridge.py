"""Calls between a module's threads and the event loop. The only file that handles threads.

A module has two threads: ``<module>-serve`` runs its ``serve()``; ``<module>-commands`` runs all
other calls into the module, one at a time and in order. ``to_loop`` calls from a module's thread
into the loop, ``to_module`` from the loop into the module.

A plain queue and one wake-up of the loop are used instead of an executor: a round trip costs 27
microseconds instead of 104 (docs/adr/0004), and it is most of what a command costs inside the
worker.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from mgr.errors import ModuleFailedError, OutcomeUnknownError, OverloadedError, TermLostError
from mgr.host.forked_child import end_if_forked
from mgr.text import typed_error_text

T = TypeVar("T")

THREAD_NAME_MAX: Final = 15
"""Characters of a thread's name that the kernel keeps and ``top -H`` and ``py-spy`` show."""


OWNER: Final = "_mgr_module"
"""Attribute of a thread: the module whose code runs on it."""
STARTED_BY_MODULE: Final = "_mgr_started_by_module"
"""Attribute of a thread: the module started it itself, so the host does not wait for its end."""


class ModuleExitError(RuntimeError):
    """A module raised ``SystemExit`` or the like. It ends the call, not the process."""


class _Job(NamedTuple):
    """One call for the command thread, and the future for its result."""

    answer: asyncio.Future[Any]
    call: Callable[[], Any]


class _Crossing(Generic[T]):
    """Work that a module's thread has the loop do, and waits for.

    A lock wakes the thread. ``asyncio.run_coroutine_threadsafe`` has two futures and a condition
    for that, and takes three times as long.
    """

    __slots__ = ("_over", "_result", "_task", "_work", "error")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.error: BaseException | None = None
        self._work: Coroutine[Any, Any, T] | None = work
        self._task: asyncio.Task[None] | None = None
        self._over = threading.Lock()
        self._over.acquire()

    def begin(self) -> None:
        """Begin the work. Called on the loop."""
        if self._work is not None:
            self._task = asyncio.ensure_future(self._run(self._work))  # noqa: TID251 - the thread waits for it

    def give_up(self) -> None:
        """Cancel it. Called on the loop, after ``begin`` if that was called."""
        work, self._work = self._work, None
        if self._task is not None:
            self._task.cancel()
        elif work is not None:
            work.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait on the module's thread; return whether it is over."""
        return self._over.acquire(timeout=timeout_s)

    def outcome(self) -> T:
        """Return or raise what the work did."""
        if self.error is not None:
            raise self.error
        return self._result

    async def _run(self, work: Coroutine[Any, Any, T]) -> None:
        try:
            self._result = await work
        except BaseException as error:  # raised where it is waited for
            self.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._over.release()


class Bridge:
    """Runs calls between one module and the event loop. Create it on the loop's own thread."""

    def __init__(self, module: str, *, waiting_max: int) -> None:
        """Start the command thread of ``module``; at most ``waiting_max`` calls wait for it."""
        self._module = module
        self._waiting_max = waiting_max
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._process = os.getpid()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._results: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._delivery_scheduled = False
        self._closed = False
        _start(thread_name(module, "commands"), self._run_jobs, module)

    @property
    def waiting(self) -> int:
        """Number of calls queued for the command thread, including the one that runs."""
        return self._waiting

    def to_loop(self, work: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        """Run ``work`` on the loop and wait for its result. Called on a module's thread.

        Raises:
            OutcomeUnknownError: It did not finish within ``timeout_s`` and was cancelled.
            TermLostError: The module was stopped and can no longer reach the manager.

        """
        if threading.get_ident() == self._loop_thread:
            work.close()
            raise AssertionError("to_loop() would wait for the very loop it runs on")
        if self._closed:
            work.close()
            raise TermLostError(f"module {self._module!r} was stopped: the call did not run")
        crossing = _Crossing(work)
        _wake(self._loop, crossing.begin)
        # Asked twice: it may have ended at the last moment, and then that is its outcome.
        if not crossing.wait(timeout_s) and not crossing.wait(0):
            _wake(self._loop, crossing.give_up)
            raise OutcomeUnknownError(f"no answer within {timeout_s} s")
        if isinstance(crossing.error, asyncio.CancelledError):
            raise TermLostError("the manager stopped during the call") from None
        return crossing.outcome()

    def to_module(self, call: Callable[[], T], *, ignore_limit: bool = False) -> asyncio.Future[T]:
        """Queue ``call`` for the command thread. Called on the loop; returns a future.

        If the future is cancelled, a call that has not begun is skipped; one that has begun goes
        on. The future raises what ``call`` raised, ``ModuleExitError`` for what would end the
        process, and ``ModuleFailedError`` if the bridge was closed before the call began.

        With ``ignore_limit`` the call is queued even if the queue is full: for calls of the host.

        Raises:
            OverloadedError: ``waiting_max`` calls wait already. Nothing was queued.
            ModuleFailedError: The bridge is closed.

        """
        if self._closed:
            raise ModuleFailedError(f"Module '{self._module}' was stopped")
        if self._waiting >= self._waiting_max and not ignore_limit:
            raise OverloadedError(
                f"Module '{self._module}' has {self._waiting} commands waiting: retry later"
            )
        answer: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        self._jobs.put(_Job(answer, call))
        return answer

    def start_serving(self, serve: Callable[[], None]) -> asyncio.Future[None]:
        """Run ``serve`` on a thread of its own; the future ends when it returns or raises."""
        return run_in_thread(thread_name(self._module, "serve"), serve, module=self._module)

    def close(self) -> None:
        """Accept no further calls, in either direction. Does not wait for the one that runs.

        Queued calls fail. A thread that is inside the module stays there, because Python cannot
        end it: therefore a worker that was active ends by ``os._exit``.
        """
        self._closed = True
        self._jobs.put(None)

    def _run_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: Any = None
            error: BaseException | None = None
            if self._closed or job.answer.cancelled():
                error = ModuleFailedError(f"Module '{self._module}' was stopped")
            else:
                try:
                    result = job.call()
                except BaseException as caught:  # noqa: BLE001 - a module may raise anything
                    error = caught
                end_if_forked(self._process, self._module)
            self._results.append((job.answer, result, error))
            # One wake-up of the loop serves all results that arrived before it ran: under load
            # this halves the cost of a call. The flag is cleared before the deque is emptied, so
            # no result is left behind.
            if not self._delivery_scheduled:
                self._delivery_scheduled = True
                _wake(self._loop, self._deliver)

    def _deliver(self) -> None:
        self._delivery_scheduled = False
        while self._results:
            answer, result, error = self._results.popleft()
            self._waiting -= 1
            _set_outcome(answer, result, error)


def run_in_thread(name: str, call: Callable[[], T], *, module: str = "") -> asyncio.Future[T]:
    """Run ``call`` on a new thread named ``name``; the future has its result.

    For long work that is not a module's command: importing modules, ``serve()``. ``module`` is the
    module whose code it runs, if any. The thread is a daemon thread: a module that ignores
    ``shutdown()`` must not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()
    process = os.getpid()

    def body() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = call()
        except BaseException as caught:  # noqa: BLE001 - a module may raise anything
            error = caught
        end_if_forked(process, module)
        _wake(loop, lambda: _set_outcome(ended, result, error))

    _start(name, body, module)
    return ended


def track_module_threads() -> None:
    """Mark every thread that a module starts itself, from now on. Call it once.

    A module may leave such threads running after its ``shutdown``. They go on acting after
    everything that the host waits for has ended.
    """
    start = threading.Thread.start

    def start_tracked(self: threading.Thread) -> None:
        if module := getattr(threading.current_thread(), OWNER, ""):
            setattr(self, OWNER, module)
            setattr(self, STARTED_BY_MODULE, True)
        start(self)

    threading.Thread.start = start_tracked  # type: ignore[method-assign]  # there is no other hook


def module_threads() -> dict[str, list[str]]:
    """Return the names of the living threads that modules started themselves, by module."""
    found: dict[str, list[str]] = {}
    for thread in threading.enumerate():
        if getattr(thread, STARTED_BY_MODULE, False):
            found.setdefault(getattr(thread, OWNER), []).append(thread.name)
    return found


def threads_of_modules() -> list[tuple[str, int]]:
    """Return module and kernel's thread id of each living thread that runs a module's code."""
    return [
        (module, thread.native_id)
        for thread in threading.enumerate()
        if (module := getattr(thread, OWNER, "")) and thread.native_id is not None
    ]


def forbid_exit() -> None:
    """Make ``os._exit`` raise in every thread but the calling one. Call it once.

    A module that called it would end the worker with all other modules, then do the same on the
    next manager, and so on. As an exception it is only a crash of that module. Child processes
    that a module forked may still exit.
    """
    really_exit, worker = os._exit, os.getpid()
    main_thread = threading.get_ident()

    def exit_if_ours(status: int) -> NoReturn:
        if os.getpid() != worker or threading.get_ident() == main_thread:
            really_exit(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = exit_if_ours


def forbid_breakpoint() -> None:
    """Make ``breakpoint()`` raise, unless ``PYTHONBREAKPOINT`` names a debugger.

    A worker has no terminal: Python's debugger would end with an error that does not say so.
    """

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(
            "breakpoint() needs a terminal, and a manager has none: debug the module in a test, "
            "with the pytest fixture mgr_host, or name a debugger in PYTHONBREAKPOINT"
        )

    if not os.environ.get("PYTHONBREAKPOINT"):
        sys.breakpointhook = refuse


def current_module() -> str:
    """Return the module whose code runs on the calling thread; empty if none's does."""
    return getattr(threading.current_thread(), OWNER, "")


def thread_ids() -> tuple[int, int]:
    """Return what Python and what the kernel call the present thread."""
    return threading.get_ident(), threading.get_native_id()


@lru_cache(maxsize=4096)
def thread_name(module: str, purpose: str) -> str:
    """Return ``<module>-<purpose>``; a long module name is cut, so that the purpose is readable."""
    room = THREAD_NAME_MAX - len(purpose) - 1
    return f"{module[:room]}-{purpose}"


def _start(name: str, body: Callable[[], None], module: str) -> None:
    thread = threading.Thread(target=body, name=name, daemon=True)
    setattr(thread, OWNER, module)
    thread.start()


def _wake(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        # The loop is closed: the process is ending and nothing waits for this result.
        return


def _set_outcome(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        answer.set_exception(error)
    else:
        # A SystemExit raised into the loop would end the worker, and a StopIteration cannot be
        # raised into a future. No module may cause either.
        replacement = ModuleExitError(typed_error_text(error))
        replacement.__cause__ = error
        answer.set_exception(replacement)
