"""The crossing between a module's threads and the event loop. Only file that knows threads.

A module lives in two threads: ``<module>-serve`` runs its ``serve()``, ``<module>-commands``
runs everything else it is asked, one thing at a time and in order. Two crossings, both named:
``to_loop`` from a module's thread, ``to_module`` from the loop.

A plain queue and one wake-up of the loop stand here in the place of an executor: the hop there
and back costs 27 microseconds instead of 104 (docs/adr/0004), and it is most of what a command
costs inside the worker.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from mgr.errors import ModuleFailedError, OutcomeUnknownError, OverloadedError, TermLostError

T = TypeVar("T")

THREAD_NAME_MAX: Final = 15
"""What the kernel keeps of a thread's name; ``top -H`` and ``py-spy`` show no more."""


OWNER: Final = "_mgr_module"
"""Attribute of a thread: the module whose code runs on it."""
STARTED_BY_MODULE: Final = "_mgr_started_by_module"
"""Attribute of a thread: the module started it itself, so nobody here waits for its end."""


class ModuleExitError(RuntimeError):
    """A module raised what would end the process (an exit, an interrupt). It ends the call."""


class _Job(NamedTuple):
    """One call for the command thread, and where its result is awaited."""

    answer: asyncio.Future[Any]
    call: Callable[[], Any]


class Bridge:
    """The two crossings for one module. Create it on the loop's own thread."""

    def __init__(self, module: str, *, waiting_max: int) -> None:
        """Give ``module`` its command thread; at most ``waiting_max`` calls wait for it."""
        self._module = module
        self._waiting_max = waiting_max
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._results: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._delivery_scheduled = False
        self._closed = False
        _start(thread_name(module, "commands"), self._run_jobs, module)

    @property
    def waiting(self) -> int:
        """Calls handed to the command thread and not finished, the running one included."""
        return self._waiting

    def to_loop(self, work: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        """From a module thread: run ``work`` on the loop and wait for its result.

        Raises:
            OutcomeUnknownError: Not done within ``timeout_s``; it was cancelled on its way.
            TermLostError: The module was stopped: it reaches nothing any more.

        """
        if threading.get_ident() == self._loop_thread:
            work.close()
            raise AssertionError("to_loop() would wait for the very loop it runs on")
        if self._closed:
            work.close()
            raise TermLostError(f"module {self._module!r} was stopped: nothing was done")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.CancelledError:
            raise TermLostError("the manager stopped while this was under way") from None
        except TimeoutError:
            if not future.cancel():
                # It ended at the last moment, or by a time-out of its own: that is its outcome.
                return future.result()
            raise OutcomeUnknownError(f"no answer within {timeout_s} s") from None

    def to_module(self, call: Callable[[], T], *, ignore_limit: bool = False) -> asyncio.Future[T]:
        """From the loop: run ``call`` on the command thread, after what was handed over before.

        Cancel the future and a call that has not begun is left out; one that has begun goes on.
        Whatever ``call`` raises comes out of the future; what would end the process comes out as
        ``ModuleExitError``; ``ModuleFailedError`` if the bridge is closed before it began.

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
        """Take no further calls, in either direction. Does not wait for the one under way.

        Calls that wait are cancelled. A thread that is inside the module stays there: Python
        cannot end it. So a worker that has led ends by ``os._exit``.
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
            self._results.append((job.answer, result, error))
            # One wake-up for all results that came before the loop looked: under load this
            # halves the cost of a hop. The flag is cleared before the deque is emptied, so no
            # result is left behind.
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
    """Run ``call`` on a thread of its own, named ``name``; await what it returns or raises.

    For what takes long and is no module's command: importing modules, ``serve()``. ``module``
    is whose code it runs, if it is a module's. A daemon thread: a module that ignores
    ``shutdown()`` must not keep the retired process from ending.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def body() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = call()
        except BaseException as caught:  # noqa: BLE001 - a module may raise anything
            error = caught
        _wake(loop, lambda: _set_outcome(ended, result, error))

    _start(name, body, module)
    return ended


def track_module_threads() -> None:
    """From now on, know of each thread that a module starts itself; call it once.

    A module can start threads and not end them in its ``shutdown``: what acts on them acts on
    after everything that the host waits for has ended.
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


def forbid_exit() -> None:
    """From now on, ``os._exit`` raises in every thread but this one; call it once, here.

    A module that calls it would end the worker with all other modules, and as it would do the
    same on the next manager, go through the whole fleet. Raised instead, it is that module's
    crash. A child process that a module forked is let go: only this one is kept.
    """
    really_exit, worker = os._exit, os.getpid()
    main_thread = threading.get_ident()

    def exit_if_ours(status: int) -> NoReturn:
        if os.getpid() != worker or threading.get_ident() == main_thread:
            really_exit(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = exit_if_ours


def thread_name(module: str, purpose: str) -> str:
    """``<module>-<purpose>``; a long module name is cut, so that the purpose stays readable."""
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
        # The loop is closed: the process is at its end and nobody waits for this result.
        return


def _set_outcome(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        answer.set_exception(error)
    else:
        # A SystemExit raised into the loop would end the worker, a StopIteration confuses it:
        # neither is a module's to decide.
        replacement = ModuleExitError(f"{type(error).__name__}: {error}")
        replacement.__cause__ = error
        answer.set_exception(replacement)
