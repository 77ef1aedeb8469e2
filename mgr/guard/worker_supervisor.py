"""The one worker of this manager: started when wanted, watched, ended on order."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from mgr.clock import Clock
from mgr.guard.crash_backoff import CrashLoopBackoff
from mgr.guard.watchdog import CHECKS_PER_LIMIT, Verdict, Watchdog
from mgr.guard.worker_health import WorkerHealth
from mgr.link import (
    ActsOutside,
    FromWorker,
    Message,
    ModulesChanged,
    Ready,
    Shutdown,
    WorkerHeartbeat,
)

SHUTDOWN_S: Final = 0.5
"""How long a worker may take to flush its log and exit before it is killed."""
DEADLINE: Final = "its deadline passed"
"""How a worker ended that the kernel killed because its term was not proven again in time."""

log = logging.getLogger(__name__)


class WorkerListener(Protocol):
    """Who hears of a worker."""

    def on_message(self, message: FromWorker) -> None:
        """It said something."""
        ...

    def on_time_limit_set(self) -> None:
        """Its kill timer is set to the moment that ``set_kill_timer`` named."""
        ...

    def on_exit(self, how: str) -> None:
        """It and everything it started is dead and reaped. The last word about it, said once."""
        ...


class WorkerHandle(Protocol):
    """A worker that was started. None of its methods waits or fails."""

    @property
    def incarnation(self) -> str:
        """What it is called, this time."""
        ...

    @property
    def pid(self) -> int:
        """Its process, for people."""
        ...

    def send(self, message: Message) -> None:
        """Send ``message``; one that is gone or frozen hears nothing."""
        ...

    def dump_stacks(self) -> None:
        """Let it write every thread's stack to its log."""
        ...

    def set_kill_timer(self, deadline_s: float | None) -> None:
        """Have the kernel end it, with all it started, at ``deadline_s``; None: never."""
        ...

    async def sweep(self) -> bool:
        """Kill the processes that it started, not itself; whether none is left."""
        ...

    def kill(self) -> None:
        """Kill it with everything it started; ``on_exit`` follows."""
        ...


StartWorker = Callable[[str, WorkerListener], WorkerHandle]
"""Start the worker of one incarnation. Raises ``OSError`` if the system will not."""


@dataclass(frozen=True, slots=True)
class WorkerTimeouts:
    """How long a worker may keep its guard waiting.

    Attributes:
        watchdog_s: For a sign of life, once it is warm.
        start_s: For being warm. Importing modules may stop its loop, and that is no fault.
        store_silent: Whether a start cannot succeed now, since the store does not answer.

    """

    watchdog_s: float
    start_s: float
    store_silent: Callable[[], bool]


class WorkerSupervisor:
    """At most one worker.

    Calls ``on_message`` with what it says, ``on_exit`` when there is none, and
    ``on_time_limit_set`` when the kernel has been given its time limit.
    """

    def __init__(
        self,
        start: StartWorker,
        clock: Clock,
        timeouts: WorkerTimeouts,
        on_message: Callable[[FromWorker], None],
        on_exit: Callable[[], None],
        on_time_limit_set: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin without a worker."""
        self.worker: WorkerHandle | None = None
        self.ready: Ready | None = None
        """What the worker said when it was warm, kept up to date; None before."""
        self.was_ready = False
        """Some worker was warm since this manager started."""
        self.killed_by_watchdog = False
        """The last worker was killed by the watchdog."""
        self.killed_by_timer = False
        """The last worker was killed by its kill timer."""
        self.acts_outside = False
        """Modules of this worker act outside etcd: its time is limited by the kernel."""
        self.health = WorkerHealth()
        """Whether it reaches the store."""
        self._start = start
        self._clock = clock
        self._timeouts = timeouts
        self._on_message = on_message
        self._on_exit = on_exit
        self._on_time_limit_set = on_time_limit_set
        self._backoff = CrashLoopBackoff()
        self._watchdog = Watchdog(timeouts.start_s, clock.now())
        self._started_s = clock.now()
        self._stop_requested = False

    def alive(self) -> bool:
        """Whether there is a warm worker that gave a sign of life within its limit."""
        silent_s = self._watchdog.silent_s(self._clock.now())
        return self.ready is not None and silent_s <= self._watchdog.limit_s

    async def ensure_worker(self) -> None:
        """See that there is a worker, after a pause if too many crashed. It may be warm already."""
        while self.worker is None:
            if pause_s := self._backoff.pause_s():
                log.warning("worker crash loop: next start delayed", extra={"pause_s": pause_s})
                await asyncio.sleep(pause_s)
            self._start_worker()

    def send(self, message: Message) -> None:
        """Tell the worker, if there is one."""
        if self.worker is not None:
            self.worker.send(message)

    async def stop(self, order: Message, *, timeout_s: float) -> bool:
        """Give the last order and kill the worker if it is late; False if there is none.

        ``on_exit`` is called when it is over.
        """
        if self.worker is None:
            return False
        self._stop_requested = True
        self.worker.send(order)
        await asyncio.sleep(timeout_s)
        log.warning("worker did not exit in time: killed", extra={"pid": self.worker.pid})
        self.worker.kill()
        return True

    async def shut_down(self, reason: str) -> bool:
        """Let the worker flush its log and exit, soon; False if there is none."""
        return await self.stop(Shutdown(reason=reason), timeout_s=SHUTDOWN_S)

    def kill(self) -> bool:
        """Kill the worker now; False if there is none. ``on_exit`` is called when it is over."""
        if self.worker is None:
            return False
        self._stop_requested = True
        self.worker.kill()
        return True

    def on_message(self, message: FromWorker) -> None:
        """See ``WorkerListener``."""
        if self.ready is not None:
            self._watchdog.on_heartbeat(self._clock.now())
        if isinstance(message, WorkerHeartbeat):
            self.health.on_heartbeat(message)
            return
        if isinstance(message, ActsOutside):
            self.acts_outside = message.acts
        if isinstance(message, Ready):
            self.ready = message
            self.was_ready = True
            self._watchdog = Watchdog(self._timeouts.watchdog_s, self._clock.now())
        if isinstance(message, ModulesChanged) and self.ready is not None:
            self.ready = msgspec.structs.replace(self.ready, modules=message.modules)
        self._on_message(message)

    def on_time_limit_set(self) -> None:
        """See ``WorkerListener``."""
        self._on_time_limit_set()

    def on_exit(self, how: str) -> None:
        """See ``WorkerListener``."""
        worker, self.worker, self.ready = self.worker, None, None
        self.acts_outside = False
        self.killed_by_timer = how == DEADLINE
        # It ended because the store was silent, not because of what it is.
        self._stop_requested |= self.killed_by_timer
        # First the deed: a standby is waiting for the key.
        self._on_exit()
        if not self._stop_requested:
            self._backoff.record_crash(self._clock.now() - self._started_s)
        level = logging.INFO if self._stop_requested else logging.ERROR
        if self.killed_by_timer:
            level = logging.WARNING
        log.log(level, "worker exited", extra={"pid": worker and worker.pid, "how": how})

    async def watch(self) -> None:
        """Look after the worker's event loop, for ever."""
        while True:
            # Never longer than a warm worker is watched: it may become warm meanwhile.
            pause_s = self._timeouts.watchdog_s / CHECKS_PER_LIMIT
            if self.worker is not None and not self.killed_by_watchdog:
                pause_s = min(self._watchdog.pause_s(self._clock.now()), pause_s)
            await asyncio.sleep(pause_s)
            now_s = self._clock.now()
            if self.ready is None and self._timeouts.store_silent():
                self._watchdog.on_heartbeat(now_s)
            verdict = self._watchdog.check(now_s)
            # One that was killed is silent until the kernel has buried it, which may take a while.
            if self.worker is None or self.killed_by_watchdog or verdict is Verdict.HEALTHY:
                continue
            fields = {"pid": self.worker.pid, "limit_s": self._watchdog.limit_s}
            if verdict is Verdict.DUMP:
                log.warning("worker silent: dumping its stacks", extra=fields)
                self.worker.dump_stacks()
            else:
                log.error("worker silent too long: killed", extra=fields)
                self.killed_by_watchdog = True
                self.worker.kill()

    def _start_worker(self) -> None:
        self._stop_requested = False
        self.killed_by_watchdog = self.killed_by_timer = False
        self.health = WorkerHealth()
        self._started_s = self._clock.now()
        self._watchdog = Watchdog(self._timeouts.start_s, self._started_s)
        try:
            self.worker = self._start(uuid.uuid4().hex[:12], self)
        except OSError:
            log.exception("worker could not be started")
            self._backoff.record_crash(0.0)
