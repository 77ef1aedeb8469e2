"""A worker in a simulation: modules that check the gate and modules that do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from mgr.errors import FencedError, MgrError
from mgr.guard.worker_supervisor import DEADLINE, Evidence, WorkerListener
from mgr.link import (
    ActsOutside,
    Drain,
    Drained,
    ExtendDeadline,
    Fenced,
    LeadershipReleased,
    Message,
    PhaseChanged,
    Promote,
    Ready,
    Shutdown,
    Started,
    StartFailed,
    TimeLimited,
    WorkerHeartbeat,
)
from mgr.store.api import Revision
from mgr.store.fenced import FencedStore
from tests.support.network_faults import KEYS
from tests.support.virtual_loop import KERNEL, context_of

if TYPE_CHECKING:
    from tests.support.simulation import SimManager

WRITE_S = 3.0
"""Longer than one attempt, so that a write is sent again."""


class SimWorker:
    """A worker as seen from outside: starts, beats, leads, writes, acts, drains, dies."""

    def __init__(self, manager: SimManager, incarnation: str, listener: WorkerListener) -> None:
        self.incarnation = incarnation
        self.pid = 0
        self.stubborn = False
        """Its modules do not stop when asked."""
        self.phase_message: PhaseChanged | None = None
        """What it was told last about its manager's phase."""
        self._world = manager.world
        self._manager = manager
        self._listener = listener
        self._name = f"{manager.name}/{incarnation}"
        self._mine = context_of(f"{manager.name}/worker")
        self._guards = context_of(manager.name)
        self._term: Promote | None = None
        self._deadline_s = float("-inf")
        self._acts_from_s = float("inf")
        self._draining = False
        self._ends: asyncio.Handle | None = None
        self._time_limited = asyncio.Event()
        self._clock = manager.clock
        self.helpers: list[asyncio.Task[None]] = []
        """Processes that its modules started. They do not end with it by themselves."""
        self.dead = False
        loop = self._world.loop
        self._tasks = [
            loop.create_task(body(), context=self._mine) for body in (self._beat, self._start)
        ]

    # -- what the guard calls: other process, so everything hops --

    def send(self, message: Message) -> None:
        self._world.loop.call_soon(self._on_message, message, context=self._mine)

    def dump_stacks(self) -> None:
        self._world.dumps += 1

    def evidence(self) -> Evidence:
        """Nothing: nobody asks why it died."""
        return Evidence()

    def _on_time_limit_set(self) -> None:
        if not self.dead:
            self._listener.on_time_limit_set()

    async def sweep(self) -> bool:
        """Kill what its modules started."""
        if self._world.reaper:
            for helper in self.helpers:
                helper.cancel()
        return True

    def kill(self) -> None:
        self.die("SIGKILL")

    async def reaped(self) -> None:
        """At once: a simulated worker has no memory to free."""

    def set_kill_timer(self, deadline_s: float | None) -> None:
        """Arm the kernel's timer for a moment on the boot clock; None: no limit."""
        before, self._ends = self._ends, None
        if before is not None:
            before.cancel()
        if deadline_s is None or self.dead:
            return
        if before is None:
            self._world.loop.call_soon(self._on_time_limit_set, context=self._guards)
        if not self._world.timer:
            return
        left_s = deadline_s - self._clock.now()
        kernel = context_of(f"{self._manager.name}{KERNEL}")
        self._ends = self._world.loop.call_later(
            max(0.0, left_s), self.die, DEADLINE, context=kernel
        )

    @property
    def leading(self) -> bool:
        """Whether it was told to lead, and lives."""
        return self._term is not None and not self.dead

    def start_helper(self) -> None:
        """A module starts a process that goes on acting in this term."""
        assert self._term is not None
        body = self._act_on(self._term, lambda: False)
        context = context_of(f"{self._manager.name}/helper")
        self.helpers.append(self._world.loop.create_task(body, context=context))

    def die(self, how: str) -> None:
        """End at once, frozen or not, with what it started; then the guard is told."""
        if self._world.reaper:
            for helper in self.helpers:
                helper.cancel()
        if self.dead:
            return
        self.dead = True
        self.set_kill_timer(None)
        for task in self._tasks:
            task.cancel()
        self._world.loop.thaw(f"{self._manager.name}/worker")
        self._world.loop.call_soon(self._listener.on_exit, how, context=self._guards)

    # -- the worker's own life --

    def send_to_guard(self, message: Message) -> None:
        """Tell the guard."""
        self._world.loop.call_soon(self._pass_on, message, context=self._guards)

    def _pass_on(self, message: Message) -> None:
        if not self.dead:
            self._listener.on_message(message)

    async def _beat(self) -> None:
        while True:
            self.send_to_guard(WorkerHeartbeat(sent_s=self._clock.now()))
            await asyncio.sleep(min(0.5, self._manager.settings.watchdog_s / 6))

    async def _start(self) -> None:
        await asyncio.sleep(self._world.rng.uniform(0.3, 1.0))
        if self._manager.port_taken:
            self.send_to_guard(StartFailed(why="grpc_listen: taken"))
            self._world.loop.call_soon(self.die, "exit status 1", context=self._mine)
            return
        self.send_to_guard(Ready(grpc_address=f"{self._manager.name}:1", http_address=""))

    def _on_message(self, message: Message) -> None:
        if self.dead:
            return
        self._note(message)
        match message:
            case Promote():
                self._promote(message)
            case ExtendDeadline(term=term, deadline_s=deadline_s):
                if self._term is not None and term == self._term.term:
                    self._deadline_s = max(self._deadline_s, deadline_s)
                    self._believes(term, deadline_s)
            case Drain(term=term):
                if not self.stubborn:
                    self._draining = True
                    self.send_to_guard(Drained(term=term, quiesced=True))
            case Shutdown() | LeadershipReleased():
                if not self.stubborn:
                    self.die("exit status 0")

    def _note(self, message: Message) -> None:
        if isinstance(message, PhaseChanged):
            self.phase_message = message
        elif isinstance(message, TimeLimited):
            self._time_limited.set()

    def _promote(self, promote: Promote) -> None:
        world = self._world
        world.checker.on_term_start(promote.term, self._manager.name)
        self._believes(promote.term, promote.deadline_s)
        self._term = promote
        self._deadline_s = promote.deadline_s
        self._acts_from_s = promote.effects_from_s
        store = world.broken_store(self._manager.wire)
        fenced = FencedStore(
            store,
            KEYS,
            Revision(promote.term),
            on_fenced=lambda _: self.send_to_guard(Fenced(term=promote.term)),
        )
        bodies = [self._announce(promote.term), self._act(promote.term), self._write(fenced)]
        if world.external:
            bodies.append(self._serve(promote))
        for body in bodies:
            self._tasks.append(world.loop.create_task(body, context=self._mine))

    def _believes(self, term: int, deadline_s: float) -> None:
        # The checker has the clock of the simulation.
        at_s = self._world.loop.world_time(self._manager.name, deadline_s)
        self._world.checker.on_deadline(term, at_s)

    async def _announce(self, term: int) -> None:
        await asyncio.sleep(self._world.rng.uniform(0.05, 1.0))
        self.send_to_guard(Started(term=term))

    async def _act(self, term: int) -> None:
        """Effects outside the store: only the gate stands before them, and it asks nobody."""
        while not self._draining:
            if self._acts_from_s <= self._clock.now() < self._deadline_s:
                self._world.checker.effect(self._world.clock.now(), self._name, term)
            await asyncio.sleep(0.1)

    async def _serve(self, promote: Promote) -> None:
        """A module that acts outside: it starts once the kernel limits this worker's time."""
        self.send_to_guard(ActsOutside(term=promote.term, acts=True))
        await self._time_limited.wait()
        await self._act_on(promote, lambda: self._draining)

    async def _act_on(self, promote: Promote, stops: Callable[[], bool]) -> None:
        """Effects of a module that asks nobody, from when on it may be constructed."""
        await asyncio.sleep(max(0.0, promote.effects_from_s - self._clock.now()))
        while not stops():
            self._world.checker.effect(self._world.clock.now(), self._name, promote.term)
            await asyncio.sleep(0.1)

    async def _write(self, fenced: FencedStore) -> None:
        """Writes: the store judges them, so they are tried whatever the gate says.

        Every third key is removed again. A key is never used twice.
        """
        number = 0
        while not self._draining:
            number += 1
            key = KEYS.entry(f"{fenced.term}/{number}")
            with contextlib.suppress(MgrError):
                try:
                    await fenced.put(key, str(fenced.term), timeout_s=WRITE_S)
                    if number % 3 == 0:
                        await fenced.delete(key, timeout_s=WRITE_S)
                        self._world.checker.on_delete(key)
                except FencedError:
                    return
            await asyncio.sleep(0.4)
