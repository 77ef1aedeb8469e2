"""Runs one module in its threads: constructs it, runs its commands, restarts and stops it.

``lifecycle.py`` decides which actions follow each event; this file performs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from mgr.clock import Clock
from mgr.errors import ModuleFailedError, ModuleNotReadyError, TermLostError
from mgr.host.bridge import Bridge
from mgr.host.command_calls import CommandCalls
from mgr.host.crash import Crash, CrashHandler, CrashOrigin, ignore_crash
from mgr.host.execution import (
    CommandRequest,
    Execution,
    Isolate,
    ModuleInstance,
    ModuleRaisedError,
    NotBegunError,
    ProcessEndedError,
    ThreadExecution,
    in_threads,
)
from mgr.host.lifecycle import ENDED, LOADING, READY, Action, Event, Phase, step
from mgr.host.limits import Limits
from mgr.host.notifications import NotificationQueue, NotifyId
from mgr.text import error_text
from mgr.waiting import Broadcast, wait

NOT_INITIALISED: Final = "Module failed to initialize."
"""Ceph's text for a module whose constructor does not return."""
EARLIER_RUNS: Final = "an earlier instance did not stop: the module starts once it has ended"

AT_ONCE: Final = frozenset({Phase.STARTING, Phase.LATE, Phase.RUNNING})
"""Phases in which a module whose process has ended is constructed again without a pause."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class ModuleRunner:
    """Runs one module from construction to its end. Use it on the loop only."""

    def __init__(  # noqa: PLR0913 - what it calls, by name
        self,
        name: str,
        construct: Callable[[Bridge], ModuleInstance],
        *,
        limits: Limits,
        clock: Clock,
        on_event: Callable[[ModuleRunner, Event], None],
        on_crash: CrashHandler = ignore_crash,
        command_calls: CommandCalls | None = None,
        isolate: Isolate = in_threads,
    ) -> None:
        """Create instances with ``construct``, on the module's thread.

        ``isolate`` is asked before each construction whether it is to be in a process instead.

        ``on_event`` is called after each event, ``on_crash`` for each exception of the module.
        Commands are listed in ``command_calls`` for as long as they run.
        """
        self.name = name
        self.phase = Phase.STARTING
        self.error = ""
        """Why the module is reported in health; empty while it is healthy."""
        self.restarts = 0
        self._construct = construct
        self._limits = limits
        self._clock = clock
        self._on_event = on_event
        self._on_crash = on_crash
        self._command_calls = command_calls or CommandCalls(clock)
        self._isolate = isolate
        self._execution: Execution | None = None
        self._serving: asyncio.Future[None] | None = None
        self._constructing: asyncio.Future[Any] | None = None
        self._failures = 0
        self._stop_s = limits.stop_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._phase_changed = Broadcast()
        self._notifications = NotificationQueue()
        self._watched_prefixes: set[str] = set()
        self._delivery: asyncio.Task[None] | None = None
        # Everything that runs on threads of its instances, except commands.
        self._threads: set[asyncio.Future[Any]] = set()

    @property
    def instance(self) -> Any:
        """The instance, as ``remote`` calls it; None while there is none."""
        return None if self._execution is None else self._execution.instance

    @property
    def leftovers(self) -> tuple[asyncio.Future[Any], ...]:
        """Futures of what still runs on threads of its instances; none once it has stopped."""
        return tuple(self._threads)

    @property
    def notifications_dropped(self) -> int:
        """Number of notifications that were lost because the module did not keep up."""
        return self._notifications.dropped

    async def run_until_stopped(self) -> None:
        """Construct the module and keep it running until it was stopped. Run it as a task."""
        if self.phase in ENDED:
            return
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._perform(Action.CONSTRUCT)
                await self.wait_until(lambda: self.phase in ENDED)
                for task in self._tasks:
                    task.cancel()
        finally:
            self._group = None
            if self._execution is not None:
                await self._execution.end()
                self._execution.close()

    async def wait_until(self, state: Callable[[], bool]) -> None:
        """Wait until ``state()`` is true; checked after each event. Set a timeout around it."""
        while not state():
            await self._phase_changed.wait()

    async def wait_loaded(self) -> None:
        """Wait until its construction has succeeded, failed or passed its time limit."""
        await self.wait_until(lambda: self.phase is not Phase.STARTING)

    def load_limit_passed(self) -> None:
        """Report the module if it is still being constructed."""
        self._handle_event(Event.LOAD_LIMIT_PASSED)

    async def stop(self, *, limit_s: float | None = None) -> bool:
        """Ask the module to stop; return whether it did within ``limit_s`` seconds. Raises nothing.

        If not, it is abandoned: disconnected from the manager, its threads left running.
        """
        if limit_s is not None:
            self._stop_s = limit_s
        self._handle_event(Event.STOP)
        await self.wait_until(lambda: self.phase in ENDED)
        return self.phase is Phase.STOPPED

    # -- commands ---------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether ``ready`` would return at once."""
        return self.phase in READY

    async def ready(self, *, until_s: float) -> None:
        """Wait until the module accepts commands.

        Raises:
            ModuleNotReadyError: It is still being constructed at the moment ``until_s``.
            ModuleFailedError: It failed.

        """
        while self.phase not in READY:
            if self.phase not in LOADING:
                raise ModuleFailedError(
                    f"Module '{self.name}' has experienced an error and cannot handle commands: "
                    f"{self.error or self.phase.value}"
                )
            if not await wait(self._phase_changed.next, max(0.0, until_s - self._clock.now())):
                raise ModuleNotReadyError(f"Module '{self.name}' did not initialize in time")

    async def run(
        self,
        command: Any,
        arguments: dict[str, Any],
        inbuf: str,
        *,
        deadline_s: float,
        caller: object = None,
        permit: Callable[[], object] = lambda: None,
    ) -> object:
        """Run ``command`` on the module's command thread; return what its handler returned.

        Implements ``mgr.command.dispatch.Runner``; see there for the errors raised.
        """
        request = CommandRequest(command, arguments, inbuf, deadline_s, caller, permit)
        while True:
            if self.phase not in READY and not self._is_self_test(command):
                await self.ready(until_s=deadline_s)
            try:
                return await self._running().command(request)
            except NotBegunError:
                # Its process ended before the command began: it waits for the next instance.
                continue

    def _is_self_test(self, command: Any) -> bool:
        # A failed module may still run its self-test, so that its author can find the cause.
        matches = command.prefix == f"{self.name} self-test"
        return matches and self.phase is Phase.FAILED and self.instance is not None

    # -- notifications ----------------------------------------------------------------------

    def notify(self, kind: str, notify_id: NotifyId = "") -> None:
        """Notify the module of ``kind``, on its command thread, after the calls queued there."""
        self._notifications.add(kind, notify_id)
        self._start_delivery()

    def notify_config(self) -> None:
        """Notify the module that options changed; several changes may be merged into one."""
        self._notifications.add_config()
        self._start_delivery()

    def watch(self, prefix: str) -> None:
        """Notify the current instance of changed keys that begin with ``prefix``, until it ends."""
        self._watched_prefixes.add(prefix)

    def unwatch(self, prefix: str) -> None:
        """End ``watch`` of the same prefix; no error if there is none."""
        self._watched_prefixes.discard(prefix)

    def notify_store(self, key: str) -> None:
        """Notify the module that its ``key`` changed, if it watches that key."""
        if key.startswith(tuple(self._watched_prefixes)):
            self._notifications.add_key(key)
            self._start_delivery()

    def _start_delivery(self) -> None:
        # Notifications from before the module is constructed are kept until then: its constructor
        # may have read an option just before it changed.
        if self._delivery or not self._notifications or self.phase not in READY:
            return
        self._delivery = self._start_task(self._deliver())

    async def _deliver(self) -> None:
        # Stopped, or its process has ended, meanwhile: nothing to deliver to.
        with contextlib.suppress(ModuleFailedError, ProcessEndedError):
            while self._notifications and self.phase in READY:
                # First wait for the thread, then empty the queue: so everything that arrives while
                # the thread is busy becomes one batch.
                await self._queued_calls_done()
                delivered = self._running().deliver(*self._notifications.take())
                try:
                    raised = await delivered
                except (ModuleFailedError, ProcessEndedError):
                    raise
                except Exception:  # whatever the module does is no error of this task
                    log.exception("notifications not delivered", extra={"module_name": self.name})
                    continue
                for origin, error in raised:
                    self._report_crash(origin, error)
        self._delivery = None

    # -- actions ----------------------------------------------------------------------------

    def _handle_event(self, event: Event) -> None:
        before = self.phase
        self.phase, actions = step(before, event)
        for action in actions:
            self._perform(action)
        if self.phase is not before:
            fields = {"module_name": self.name, "phase": self.phase.value}
            if self.error:
                fields["error"] = self.error
            log.info("module changed phase", extra=fields)
        self._on_event(self, event)
        self._phase_changed.notify()
        self._start_delivery()

    def _perform(self, action: Action) -> None:
        match action:
            case Action.REPORT:
                self.error = self.error or NOT_INITIALISED
            case Action.CLEAR:
                self.error = ""
                self._failures = 0
            case Action.DISCONNECT:
                self._disconnect()
            case Action.SHUT_DOWN if self._group is None:
                # Stopped before it was ever constructed: there is nothing to shut down.
                self._handle_event(Event.STOPPED)
            case _:
                self._start_task(self._coroutine_for(action))

    def _coroutine_for(self, action: Action) -> Coroutine[Any, Any, None]:
        coroutines = {
            Action.CONSTRUCT: self._construct_instance,
            Action.SERVE: self._serve,
            Action.PAUSE: self._pause,
            Action.WAIT_FOR_EARLIER: self._wait_for_earlier,
            Action.START_PROBATION: self._time_probation,
            Action.SHUT_DOWN: self._shut_down,
        }
        return coroutines[action]()

    def _start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._group is None:
            raise AssertionError("an action runs only inside run_until_stopped()")
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _running(self) -> Execution:
        if self._execution is None:
            raise ModuleFailedError(f"Module '{self.name}' was stopped")
        return self._execution

    def _disconnect(self) -> None:
        if self._execution is not None:
            self._execution.close()
            self._execution = None

    async def _construct_instance(self) -> None:
        if not await self._end_earlier():
            return
        # The next instance does not know which prefixes this one watched; it watches its own.
        self._watched_prefixes.clear()
        limits = self._limits
        self._execution = self._isolate(self._on_died) or ThreadExecution(
            self.name,
            self._construct,
            waiting_max=limits.commands_max,
            may_begin=limits.may_begin,
            clock=self._clock,
            command_calls=self._command_calls,
        )
        self._constructing = self._track(self._execution.construct())
        try:
            await asyncio.shield(self._constructing)
        except ProcessEndedError:
            return  # ``_on_died`` reports it
        except Exception as error:  # the module's code
            log.exception("module constructor raised", extra={"module_name": self.name})
            self._report_crash(CrashOrigin.CONSTRUCTOR, error)
            self.error = error_text(error)
            self._handle_event(Event.CONSTRUCTOR_RAISED)
        else:
            self._handle_event(Event.CONSTRUCTED)

    async def _end_earlier(self) -> bool:
        """End the earlier instance; return whether another one may be constructed now."""
        if self._execution is None:
            return True
        stopped = True
        if self._execution.over or self.instance is None:
            await self._execution.end()
        else:
            stopped = await self._stop_instance(self._limits.stop_s)
        if self.phase is not Phase.RESTARTING:
            return False  # stop() was called meanwhile: _shut_down() handles this instance.
        self._disconnect()
        self._serving = self._constructing = None
        if self._delivery is not None:
            # The delivery may wait for a thread that never returns.
            self._delivery.cancel()
            self._delivery = None
        if not stopped:
            self.error = EARLIER_RUNS
            self._handle_event(Event.STOP_LIMIT_PASSED)
        return stopped

    async def _serve(self) -> None:
        self._serving = self._track(self._running().serve())
        try:
            await asyncio.shield(self._serving)
        except ProcessEndedError:
            return  # ``_on_died`` reports it
        except Exception as error:  # the module's code
            log.exception("module serve() raised", extra={"module_name": self.name})
            self._report_crash(CrashOrigin.SERVE, error)
            self.error = error_text(error)
            self._handle_event(Event.SERVE_RAISED)

    def _on_died(self, crash: Crash | None, why: str) -> None:
        fields = {"module_name": self.name, "why": why}
        if crash is None:
            log.warning("the process of a module was ended", extra=fields)
        else:
            log.error("the process of a module ended by itself", extra=fields)
            self._on_crash(crash)
        self.error = why
        if self.phase in AT_ONCE:
            self.restarts += 1
        self._handle_event(Event.DIED)

    async def _pause(self) -> None:
        longest = self._limits.pause_max_s
        # The exponent is bounded: a module that fails for a year must not overflow a float.
        await asyncio.sleep(min(longest, self._limits.pause_s * 2 ** min(self._failures, 32)))
        self._failures += 1
        self.restarts += 1
        self._handle_event(Event.PAUSE_OVER)

    async def _wait_for_earlier(self) -> None:
        while self._threads:
            await asyncio.wait(self._threads)
        self._handle_event(Event.EARLIER_ENDED)

    async def _time_probation(self) -> None:
        await asyncio.sleep(self._limits.probation_s)
        self._handle_event(Event.PROBATION_OVER)

    async def _shut_down(self) -> None:
        stopped = await self._stop_instance(self._stop_s)
        if not stopped:
            log.error(
                "module did not stop and is abandoned: its threads keep running",
                extra={"module_name": self.name, "limit_s": self._stop_s},
            )
        self._handle_event(Event.STOPPED if stopped else Event.STOP_LIMIT_PASSED)

    async def _stop_instance(self, limit_s: float) -> bool:
        """Ask the instance to stop and wait for its threads; return whether all have ended."""
        end_s, execution = self._clock.now() + limit_s, self._execution
        if execution is not None and not execution.over:
            await self._ask_to_stop(execution, end_s, limit_s)
        while self._threads and (left_s := end_s - self._clock.now()) > 0:
            await asyncio.wait(self._threads, timeout=left_s)
        late = bool(self._threads)
        if execution is None or not await execution.end():
            return not self._threads
        if late:
            fields = {"module_name": self.name, "limit_s": limit_s}
            log.error("module did not stop: its process was killed", extra=fields)
        return True

    async def _ask_to_stop(self, execution: Execution, end_s: float, limit_s: float) -> None:
        # Wait half of the time for queued commands, then call shutdown() in any case: a command
        # may be waiting for something that only shutdown() triggers.
        await self._wait_ended(self._queued_calls_done(), end_s - limit_s / 2)
        if execution.instance is None:
            if self._constructing is not None and not self._constructing.done():
                self._stop_when_constructed(execution, self._constructing)
        else:
            stopping = self._track(execution.shutdown())
            await self._wait_ended(stopping, end_s)
            if stopping.done() and (error := stopping.exception()):
                self._on_shutdown_raised(error)
            if self._serving is not None:
                await self._wait_ended(self._serving, end_s)
            await self._wait_ended(self._queued_calls_done(), end_s)

    def _on_shutdown_raised(self, error: BaseException) -> None:
        if isinstance(error, ProcessEndedError):
            return
        log.error("module shutdown() raised", extra={"module_name": self.name}, exc_info=error)
        self._report_crash(CrashOrigin.SHUTDOWN, error)

    def _stop_when_constructed(
        self, execution: Execution, constructing: asyncio.Future[Any]
    ) -> None:
        """Ask an instance that is constructed too late to stop, and track it until it has."""
        stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(_over: object) -> None:
            if not stopped.done():
                stopped.set_result(None)

        def constructed(late: asyncio.Future[Any]) -> None:
            if late.cancelled() or late.exception() is not None:
                settle(late)
            else:
                self._track(execution.shutdown()).add_done_callback(settle)

        self._track(stopped)
        constructing.add_done_callback(constructed)

    def _report_crash(self, origin: CrashOrigin, error: BaseException) -> None:
        # A lost term is not an error of the module.
        if isinstance(error, ModuleRaisedError) and error.crash is not None:
            self._on_crash(error.crash)
        elif not isinstance(error, TermLostError):
            self._on_crash(Crash.of(self.name, origin, error))

    def _queued_calls_done(self) -> asyncio.Future[None]:
        """Return a future that ends when all calls queued so far on the command thread ended."""
        return self._track(self._running().calls_done())

    def _track(self, future: asyncio.Future[T]) -> asyncio.Future[T]:
        """Track ``future`` as a leftover until it ends."""
        self._threads.add(future)

        def ended(late: asyncio.Future[T]) -> None:
            self._threads.discard(late)
            # It may fail long after it was abandoned: read the exception, or asyncio logs it as
            # never retrieved.
            if not late.cancelled():
                late.exception()

        future.add_done_callback(ended)
        return future

    async def _wait_ended(self, future: asyncio.Future[Any], until_s: float) -> None:
        await asyncio.wait({future}, timeout=max(0.0, until_s - self._clock.now()))
