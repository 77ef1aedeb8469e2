"""Supervise the worker of this manager: start it, watch its heartbeats, end it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from mgr.clock import Clock
from mgr.guard.attribution import WATCHDOG
from mgr.guard.crash_backoff import CrashLoopBackoff
from mgr.guard.watchdog import CHECKS_PER_LIMIT, Verdict, Watchdog
from mgr.guard.worker_health import WorkerHealth
from mgr.link import (
    ActsOutside,
    AuditTrouble,
    CertificatesChanged,
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
"""The ``how`` of a worker that its kill timer ended, because its term was not confirmed in time."""

log = logging.getLogger(__name__)


class WorkerListener(Protocol):
    """Receives the events of a worker."""

    def on_message(self, message: FromWorker) -> None:
        """Called with each message from the worker."""
        ...

    def on_time_limit_set(self) -> None:
        """Called when the first deadline given to ``set_kill_timer`` is set in the kernel."""
        ...

    def on_exit(self, how: str) -> None:
        """Called once, last: nothing of the worker and of what it started runs any more."""
        ...


class Evidence(NamedTuple):
    """What a worker left for whoever examines its death.

    Attributes:
        trace: See ``mgr.worker_trace``; empty if there is none.
        busy: What each of its threads used of the processor while it was silent, in nanoseconds.
        out_of_memory: Since it started, the kernel killed some process for want of memory.

    """

    trace: bytes = b""
    busy: Mapping[int, int] = {}
    out_of_memory: bool = False


class WorkerHandle(Protocol):
    """A worker that was started. No method raises; only ``sweep`` waits."""

    @property
    def incarnation(self) -> str:
        """The id of this worker, different for each one that is started."""
        ...

    @property
    def pid(self) -> int:
        """The worker's process id, for logs."""
        ...

    def send(self, message: Message) -> None:
        """Send ``message``; for a worker that is gone or frozen it is dropped."""
        ...

    def dump_stacks(self) -> None:
        """Dump every thread's stack to the log."""
        ...

    def evidence(self) -> Evidence:
        """Return what the worker left for whoever examines its death."""
        ...

    def set_kill_timer(self, deadline_s: float | None) -> None:
        """Let the kernel kill the worker, with all it started, at ``deadline_s``; None: never."""
        ...

    async def sweep(self) -> bool:
        """Kill the processes that the worker started, not the worker; whether none is left."""
        ...

    def kill(self) -> None:
        """Kill the worker with everything it started; ``on_exit`` follows."""
        ...

    async def reaped(self) -> None:
        """Return when the kernel has freed the memory and ports of a worker that has ended."""
        ...


StartWorker = Callable[[str, WorkerListener], WorkerHandle]
"""Starts a worker of the given incarnation. Raises ``OSError`` if the system refuses."""


class Examine(Protocol):
    """Examines how a worker ended."""

    def __call__(self, how: str, evidence: Evidence, /, *, asked: bool) -> Mapping[str, str]:
        """Take it in; ``asked``: it was to end. Returns what the log should name."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerTimeouts:
    """Time limits of a worker.

    Attributes:
        watchdog_s: The longest time without a heartbeat, once the worker is ready.
        start_s: The longest time until the worker is ready. Before that, heartbeats do not count:
            importing modules may block its loop, which is no fault.
        store_silent: Whether a start cannot succeed now, because the store does not answer.

    """

    watchdog_s: float
    start_s: float
    store_silent: Callable[[], bool]


class WorkerSupervisor:
    """Supervises at most one worker at a time.

    Calls ``on_message`` with the worker's messages, ``on_exit`` when it has exited, and
    ``on_time_limit_set`` when its kill timer is set.
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
        """The worker's message ``Ready``, with later changes; None before."""
        self.was_ready = False
        """Some worker was ready since this manager started."""
        self.ended = ""
        """How the last worker ended, with the module that caused it, if one did."""
        self.killed_by_watchdog = False
        """The last worker was killed by the watchdog."""
        self.killed_by_timer = False
        """The last worker was killed by its kill timer."""
        self.acts_outside = False
        """Modules of this worker act outside etcd, so it has a kill timer."""
        self.audit_trouble = ""
        """Why a required audit sink of this worker does not keep records; empty if all do."""
        self.health = WorkerHealth()
        """Whether the worker reaches the store."""
        self._start = start
        self._clock = clock
        self._timeouts = timeouts
        self._on_message = on_message
        self._on_exit = on_exit
        self._on_time_limit_set = on_time_limit_set
        self.examine: Examine = _examine_nothing
        """Told how each worker ended; its answer goes to the log."""
        self._backoff = CrashLoopBackoff()
        self._watchdog = Watchdog(timeouts.start_s, clock.now())
        self._started_s = clock.now()
        self._stop_requested = False
        self._before: WorkerHandle | None = None

    def alive(self) -> bool:
        """Whether there is a ready worker whose last heartbeat is within the limit."""
        silent_s = self._watchdog.silent_s(self._clock.now())
        return self.ready is not None and silent_s <= self._watchdog.limit_s

    async def ensure_worker(self) -> None:
        """Start a worker unless there is one, after a pause if too many have crashed."""
        while self.worker is None:
            if pause_s := self._backoff.pause_s():
                log.warning("worker crash loop: next start delayed", extra={"pause_s": pause_s})
                await asyncio.sleep(pause_s)
            if self._before is not None:
                await self._before.reaped()
                self._before = None
            self._start_worker()

    def send(self, message: Message) -> None:
        """Send ``message`` to the worker, if there is one."""
        if self.worker is not None:
            self.worker.send(message)

    async def stop(self, order: Message, *, timeout_s: float) -> bool:
        """Send ``order``, to exit, and kill the worker after ``timeout_s``; False if there is none.

        ``on_exit`` is called when the worker has exited.
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
        """Let the worker flush its log and exit within ``SHUTDOWN_S``; False if there is none."""
        return await self.stop(Shutdown(reason=reason), timeout_s=SHUTDOWN_S)

    def kill(self) -> bool:
        """Kill the worker now; False if there is none. ``on_exit`` is called when it is dead."""
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
        if isinstance(message, AuditTrouble):
            self.audit_trouble = message.why
        if isinstance(message, Ready):
            self.ready = message
            self.was_ready = True
            self._watchdog = Watchdog(self._timeouts.watchdog_s, self._clock.now())
        if isinstance(message, ModulesChanged) and self.ready is not None:
            self.ready = msgspec.structs.replace(self.ready, modules=message.modules)
        if isinstance(message, CertificatesChanged) and self.ready is not None:
            self.ready = msgspec.structs.replace(
                self.ready, certificates=message.certificates, signs=message.signs
            )
        self._on_message(message)

    def on_time_limit_set(self) -> None:
        """See ``WorkerListener``."""
        self._on_time_limit_set()

    def on_exit(self, how: str) -> None:
        """See ``WorkerListener``."""
        worker, self.worker, self.ready = self.worker, None, None
        self._before = worker
        self.ended = how
        self.acts_outside = False
        self.audit_trouble = ""
        self.killed_by_timer = how == DEADLINE
        # It ended because the store did not answer: not a crash of the worker.
        self._stop_requested |= self.killed_by_timer
        # First the event: until the leader key is released, no standby can take over.
        self._on_exit()
        if not self._stop_requested:
            self._backoff.record_crash(self._clock.now() - self._started_s)
        found = self._examine_end(worker, how)
        if "suspect" in found:
            self.ended = f"{how}, module '{found['suspect']}' {found.get('during', '')}".rstrip()
        level = logging.INFO if self._stop_requested else logging.ERROR
        if self.killed_by_timer:
            level = logging.WARNING
        log.log(level, "worker exited", extra={"pid": worker and worker.pid, "how": how, **found})

    def _examine_end(self, worker: WorkerHandle | None, how: str) -> Mapping[str, str]:
        if worker is None:
            return {}
        if self.killed_by_watchdog:
            how = WATCHDOG
        try:
            return self.examine(how, worker.evidence(), asked=self._stop_requested)
        except Exception:  # what a dead worker left must not end its guard
            log.exception("end of the worker not examined")
            return {}

    async def watch(self) -> None:
        """Check the worker's heartbeats periodically, kill a silent worker; never returns."""
        while True:
            # Never longer than the pause for a ready worker: it may become ready meanwhile.
            pause_s = self._timeouts.watchdog_s / CHECKS_PER_LIMIT
            if self.worker is not None and not self.killed_by_watchdog:
                pause_s = min(self._watchdog.pause_s(self._clock.now()), pause_s)
            await asyncio.sleep(pause_s)
            now_s = self._clock.now()
            if self.ready is None and self._timeouts.store_silent():
                self._watchdog.on_heartbeat(now_s)
            verdict = self._watchdog.check(now_s)
            # A killed worker sends no heartbeats until it is reaped, which may take a while.
            if self.worker is None or self.killed_by_watchdog or verdict is Verdict.HEALTHY:
                continue
            fields = {"pid": self.worker.pid, "limit_s": self._watchdog.limit_s}
            if verdict is Verdict.DUMP:
                log.warning("no heartbeat from worker: dumping its stacks", extra=fields)
                self.worker.dump_stacks()
            else:
                log.error("no heartbeat from worker: killed", extra=fields)
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


def _examine_nothing(_how: str, _evidence: Evidence, *, asked: bool) -> Mapping[str, str]:  # noqa: ARG001 - see Examine
    return {}
