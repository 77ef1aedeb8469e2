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
from mgr.guard.crash_backoff import CrashBudget
from mgr.guard.watchdog import LOOKS_PER_LIMIT, Verdict, Watchdog
from mgr.guard.worker_health import WorkerHealth
from mgr.link import ActsOutside, FromWorker, Heartbeat, Message, Modules, Ready, Retire

RETIRE_S: Final = 0.5
"""How long a worker may take to flush its log and exit before it is killed."""
DEADLINE: Final = "its deadline passed"
"""How a worker ended that the kernel killed because its term was not proven again in time."""

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who hears of a worker."""

    def said(self, message: FromWorker) -> None:
        """It said something."""
        ...

    def limited(self) -> None:
        """Its kill timer is set to the moment that ``allow_until`` named."""
        ...

    def gone(self, how: str) -> None:
        """It and everything it started is dead and reaped. The last word about it, said once."""
        ...


class Worker(Protocol):
    """A worker that was started. None of its methods waits or fails."""

    @property
    def incarnation(self) -> str:
        """What it is called, this time."""
        ...

    @property
    def pid(self) -> int:
        """Its process, for people."""
        ...

    def tell(self, message: Message) -> None:
        """Send ``message``; one that is gone or frozen hears nothing."""
        ...

    def dump_stacks(self) -> None:
        """Let it write every thread's stack to its log."""
        ...

    def allow_until(self, deadline_s: float | None) -> None:
        """Have the kernel end it, with all it started, at ``deadline_s``; None: never."""
        ...

    async def sweep(self) -> bool:
        """Kill the processes that it started, not itself; whether none is left."""
        ...

    def kill(self) -> None:
        """Kill it with everything it started; ``gone`` follows."""
        ...


StartWorker = Callable[[str, Listener], Worker]
"""Start the worker of one incarnation. Raises ``OSError`` if the system will not."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker may keep its guard waiting.

    Attributes:
        watchdog_s: For a sign of life, once it is warm.
        start_s: For being warm. Importing modules may stop its loop, and that is no fault.
        excused: Whether at this moment a start cannot succeed, since the store does not answer.

    """

    watchdog_s: float
    start_s: float
    excused: Callable[[], bool]


class Crew:
    """At most one worker.

    Calls ``said`` with what it says, ``gone`` when there is none, and ``limited`` when the kernel
    has been given its time limit.
    """

    def __init__(
        self,
        start: StartWorker,
        clock: Clock,
        patience: Patience,
        said: Callable[[FromWorker], None],
        gone: Callable[[], None],
        limited: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin without a worker."""
        self.worker: Worker | None = None
        self.ready: Ready | None = None
        """What the worker said when it was warm, kept up to date; None before."""
        self.was_ready = False
        """Some worker was warm since this manager started."""
        self.starved = False
        """The last worker was killed by the watchdog."""
        self.expired = False
        """The last worker was killed by its kill timer."""
        self.acts_outside = False
        """Modules of this worker act outside etcd: its time is limited by the kernel."""
        self.health = WorkerHealth()
        """Whether it reaches the store."""
        self._start = start
        self._clock = clock
        self._patience = patience
        self._said = said
        self._gone = gone
        self._limited = limited
        self._budget = CrashBudget()
        self._watchdog = Watchdog(patience.start_s, clock.now())
        self._started_s = clock.now()
        self._ordered = False

    def alive(self) -> bool:
        """Whether there is a warm worker that gave a sign of life within its limit."""
        silent_s = self._watchdog.silent_s(self._clock.now())
        return self.ready is not None and silent_s <= self._watchdog.limit_s

    async def warm(self) -> None:
        """See that there is a worker, after a pause if too many crashed. It may be warm already."""
        while self.worker is None:
            if pause_s := self._budget.pause_s():
                log.warning("workers crash: waiting", extra={"pause_s": pause_s})
                await asyncio.sleep(pause_s)
            self._launch()

    def tell(self, message: Message) -> None:
        """Tell the worker, if there is one."""
        if self.worker is not None:
            self.worker.tell(message)

    async def end(self, order: Message, *, patience_s: float) -> bool:
        """Give the last order and kill the worker if it is late; False if there is none.

        ``gone`` is called when it is over.
        """
        if self.worker is None:
            return False
        self._ordered = True
        self.worker.tell(order)
        await asyncio.sleep(patience_s)
        log.warning("the worker did not exit in time: killed", extra={"pid": self.worker.pid})
        self.worker.kill()
        return True

    async def retire(self, reason: str) -> bool:
        """Let the worker flush its log and exit, soon; False if there is none."""
        return await self.end(Retire(reason=reason), patience_s=RETIRE_S)

    def kill(self) -> bool:
        """Kill the worker now; False if there is none. ``gone`` is called when it is over."""
        if self.worker is None:
            return False
        self._ordered = True
        self.worker.kill()
        return True

    def said(self, message: FromWorker) -> None:
        """See ``Listener``."""
        if self.ready is not None:
            self._watchdog.heard(self._clock.now())
        if isinstance(message, Heartbeat):
            self.health.heard(message)
            return
        if isinstance(message, ActsOutside):
            self.acts_outside = message.acts
        if isinstance(message, Ready):
            self.ready = message
            self.was_ready = True
            self._watchdog = Watchdog(self._patience.watchdog_s, self._clock.now())
        if isinstance(message, Modules) and self.ready is not None:
            self.ready = msgspec.structs.replace(self.ready, modules=message.modules)
        self._said(message)

    def limited(self) -> None:
        """See ``Listener``."""
        self._limited()

    def gone(self, how: str) -> None:
        """See ``Listener``."""
        worker, self.worker, self.ready = self.worker, None, None
        self.acts_outside = False
        self.expired = how == DEADLINE
        # It ended because the store was silent, not because of what it is.
        self._ordered |= self.expired
        # First the deed: a standby is waiting for the key.
        self._gone()
        if not self._ordered:
            self._budget.crashed(self._clock.now() - self._started_s)
        level = logging.INFO if self._ordered else logging.ERROR
        if self.expired:
            level = logging.WARNING
        log.log(level, "the worker is gone", extra={"pid": worker and worker.pid, "how": how})

    async def watch(self) -> None:
        """Look after the worker's event loop, for ever."""
        while True:
            # Never longer than a warm worker is watched: it may become warm meanwhile.
            pause_s = self._patience.watchdog_s / LOOKS_PER_LIMIT
            if self.worker is not None and not self.starved:
                pause_s = min(self._watchdog.pause_s(self._clock.now()), pause_s)
            await asyncio.sleep(pause_s)
            now_s = self._clock.now()
            if self.ready is None and self._patience.excused():
                self._watchdog.heard(now_s)
            verdict = self._watchdog.look(now_s)
            # One that was killed is silent until the kernel has buried it, which may take a while.
            if self.worker is None or self.starved or verdict is Verdict.WELL:
                continue
            fields = {"pid": self.worker.pid, "limit_s": self._watchdog.limit_s}
            if verdict is Verdict.DUMP:
                log.warning("the worker is silent: it is told to dump its stacks", extra=fields)
                self.worker.dump_stacks()
            else:
                log.error("the worker was silent too long: killed", extra=fields)
                self.starved = True
                self.worker.kill()

    def _launch(self) -> None:
        self._ordered = False
        self.starved = self.expired = False
        self.health = WorkerHealth()
        self._started_s = self._clock.now()
        self._watchdog = Watchdog(self._patience.start_s, self._started_s)
        try:
            self.worker = self._start(uuid.uuid4().hex[:12], self)
        except OSError:
            log.exception("the worker could not be started")
            self._budget.crashed(0.0)
