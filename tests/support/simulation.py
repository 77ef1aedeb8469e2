"""Whole managers on virtual time, in any weather, before a judge.

The guard and the election are the real ones. For etcd there is a dictionary behind a lossy wire,
for a worker something that acts like one. The judge sees every effect and every write.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Self

from mgr.election.leader import Leader, decode
from mgr.election.machine import Phase
from mgr.errors import FencedError, MgrError
from mgr.guard.crew import Listener
from mgr.guard.identity import Identity
from mgr.guard.loop import Guard
from mgr.guard.notify_systemd import Notifier
from mgr.link import (
    Drain,
    Drained,
    Extend,
    Fenced,
    Heartbeat,
    Lead,
    Message,
    Ready,
    Released,
    Resign,
    Retire,
    Standing,
    Started,
    Unable,
)
from mgr.settings import PROFILED, Settings
from mgr.store.api import Delete, Put, Revision, Store
from mgr.store.fenced import FencedStore
from mgr.store.identity import StoreIdentity
from mgr.store.memory import MemoryStore
from tests.support.virtual import VirtualClock, VirtualLoop, context_of
from tests.support.weather import KEYS, Judge, Weather, Wire


class SimWorker:
    """A worker as seen from outside: starts, beats, leads, writes, acts, drains, dies."""

    def __init__(self, manager: SimManager, incarnation: str, listener: Listener) -> None:
        self.incarnation = incarnation
        self.pid = 0
        self.stubborn = False
        """Its modules do not stop when asked."""
        self.standing: Standing | None = None
        """What it was told last about its manager's phase."""
        self._world = manager.world
        self._manager = manager
        self._listener = listener
        self._name = f"{manager.name}/{incarnation}"
        self._mine = context_of(f"{manager.name}/worker")
        self._guards = context_of(manager.name)
        self._term: Lead | None = None
        self._deadline_s = float("-inf")
        self._acts_from_s = float("inf")
        self._draining = False
        self.dead = False
        loop = self._world.loop
        self._tasks = [
            loop.create_task(body(), context=self._mine) for body in (self._beat, self._start)
        ]

    # -- what the guard calls: other process, so everything hops --

    def tell(self, message: Message) -> None:
        self._world.loop.call_soon(self._hear, message, context=self._mine)

    def dump_stacks(self) -> None:
        self._world.dumps += 1

    def kill(self) -> None:
        self.die("SIGKILL")

    def die(self, how: str) -> None:
        """End at once, frozen or not; the guard is told."""
        if self.dead:
            return
        self.dead = True
        for task in self._tasks:
            task.cancel()
        self._world.loop.thaw(f"{self._manager.name}/worker")
        self._world.loop.call_soon(self._listener.gone, how, context=self._guards)

    # -- the worker's own life --

    def say(self, message: Message) -> None:
        """Tell the guard."""
        self._world.loop.call_soon(self._pass_on, message, context=self._guards)

    def _pass_on(self, message: Message) -> None:
        if not self.dead:
            self._listener.said(message)

    async def _beat(self) -> None:
        while True:
            self.say(Heartbeat(sent_s=self._world.clock.now()))
            await asyncio.sleep(min(0.5, self._manager.settings.watchdog_s / 6))

    async def _start(self) -> None:
        await asyncio.sleep(self._world.dice.uniform(0.3, 1.0))
        if self._manager.port_taken:
            self.say(Unable(why="grpc_listen: taken"))
            self._world.loop.call_soon(self.die, "exit status 1", context=self._mine)
            return
        self.say(Ready(grpc_address=f"{self._manager.name}:1", http_address=""))

    def _hear(self, message: Message) -> None:
        if self.dead:
            return
        match message:
            case Standing():
                self.standing = message
            case Lead():
                self._lead(message)
            case Extend(term=term, deadline_s=deadline_s):
                if self._term is not None and term == self._term.term:
                    self._deadline_s = max(self._deadline_s, deadline_s)
                    self._world.judge.believed(term, deadline_s)
            case Drain(term=term):
                if not self.stubborn:
                    self._draining = True
                    self.say(Drained(term=term, quiesced=True))
            case Retire() | Released():
                if not self.stubborn:
                    self.die("exit status 0")

    def _lead(self, lead: Lead) -> None:
        world = self._world
        world.judge.began(lead.term)
        world.judge.believed(lead.term, lead.deadline_s)
        self._term = lead
        self._deadline_s = lead.deadline_s
        self._acts_from_s = lead.effects_from_s
        store = world.broken_store(self._manager.wire)
        fenced = FencedStore(
            store, KEYS, Revision(lead.term), on_fenced=lambda _: self.say(Fenced(term=lead.term))
        )
        for body in (self._announce(lead.term), self._act(lead.term), self._write(fenced)):
            self._tasks.append(world.loop.create_task(body, context=self._mine))

    async def _announce(self, term: int) -> None:
        await asyncio.sleep(self._world.dice.uniform(0.05, 1.0))
        self.say(Started(term=term))

    async def _act(self, term: int) -> None:
        """Effects outside the store: only the gate stands before them, and it asks nobody."""
        while not self._draining:
            now_s = self._world.clock.now()
            if self._acts_from_s <= now_s < self._deadline_s:
                self._world.judge.effect(now_s, self._name, term)
            await asyncio.sleep(0.1)

    async def _write(self, fenced: FencedStore) -> None:
        """Writes: the store judges them, so they are tried whatever the gate says."""
        number = 0
        while not self._draining:
            number += 1
            key = KEYS.entry(f"{fenced.term}/{number}")
            with contextlib.suppress(MgrError):
                try:
                    await fenced.put(key, str(fenced.term), timeout_s=1.0)
                except FencedError:
                    return
            await asyncio.sleep(0.4)


class Systemd(Notifier):
    """What systemd would have been told."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[str] = []

    def say(self, *states: str) -> None:
        """Remember it."""
        self.told += states


class SimManager:
    """One manager: the real guard over a wire, with simulated workers."""

    def __init__(self, name: str, world: Simulation, *, host: str = "") -> None:
        self.name = name
        self.world = world
        self.host = host or name
        self.wire = Wire(world.store, world.judge, world.loop, world.dice)
        self.worker: SimWorker | None = None
        self.failure: BaseException | None = None
        self.port_taken = False
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Start the guard as a new process."""
        self._starts += 1
        me = Identity(
            host=self.host,
            boot_id=self.host,
            pid_namespace="",
            pid=self._starts,
            pid_started=self._starts,
            started_at="",
            version=self.world.releases.get(self.name, "1"),
        )
        profile = self.world.profiles.get(self.name, self.world.profile)
        self.settings = Settings(
            id=self.name,
            cluster="sim",
            lease_ttl_s=self.world.ttl_s,
            profile=profile,
            downgrade=self.name in self.world.may_go_back,
            **PROFILED.get(profile, {}),
        )
        self.systemd = Systemd()
        self.guard = Guard(
            self.settings, self.wire, self.world.clock, self._start_worker, me, self.systemd
        )
        self.identity = StoreIdentity(clock=self.world.clock)
        self.guard.use(self.identity)
        self.task = self.world.loop.create_task(self._run(), context=context_of(self.name))

    async def _run(self) -> None:
        try:
            await self.guard.run()
        except MgrError as error:
            self.failure = error

    def _start_worker(self, incarnation: str, listener: Listener) -> SimWorker:
        self.worker = SimWorker(self, incarnation, listener)
        return self.worker

    @property
    def running(self) -> bool:
        """Whether the guard's process exists."""
        return not self.task.done()

    def stop(self) -> None:
        """SIGTERM."""
        self.world.loop.call_soon(self.guard.stop, context=context_of(self.name))

    def kill(self) -> None:
        """SIGKILL of the guard: the kernel kills its worker with it."""
        self.task.cancel()
        if self.worker is not None:
            self.worker.die("parent-death signal")


class Simulation:
    """Several managers. Use as a context manager; ``run`` fails at the first violation."""

    def __init__(
        self,
        *names: str,
        seed: int = 0,
        ttl_s: int = 5,
        profile: str = "default",
        broken_store: Callable[[Store], Store] = lambda store: store,
    ) -> None:
        self.clock = VirtualClock()
        self.loop = VirtualLoop(self.clock)
        self.dice = random.Random(seed)
        self.ttl_s = ttl_s
        self.profile = profile
        self.profiles: dict[str, str] = {}
        self.releases: dict[str, str] = {}
        """What a manager runs from its next start on."""
        self.may_go_back: set[str] = set()
        """Who may lead after a newer release, from his next start on."""
        self.broken_store = broken_store
        self.dumps = 0
        self.store = MemoryStore(self.clock)
        self.judge = Judge(self.clock)
        self.managers = {name: SimManager(name, self) for name in names}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.managers:
            self.loop.thaw(name)
            self.loop.thaw(f"{name}/worker")
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(_all_done(tasks))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def run(self, seconds: float) -> None:
        """Let ``seconds`` pass.

        Raises:
            ViolationError: Something happened that must never happen.

        """
        end_s = self.clock.now() + seconds
        while self.clock.now() < end_s - 1e-6:
            step_s = min(0.5, end_s - self.clock.now())
            self.loop.run_until_complete(asyncio.sleep(step_s))
            if self.judge.violation is not None:
                raise self.judge.violation
            for manager in self.managers.values():
                if manager.task.done() and not manager.task.cancelled():
                    manager.task.result()

    def until(self, condition: Callable[[], object], limit_s: float) -> float:
        """Let time pass until ``condition`` holds; how long it took."""
        began_s = self.clock.now()
        while not condition():
            if self.clock.now() - began_s > limit_s:
                raise TimeoutError(f"not within {limit_s} s: {self.phases}")
            self.run(0.001 if limit_s < 1 else 0.02)
        return self.clock.now() - began_s

    @property
    def phases(self) -> dict[str, str]:
        """Every manager's phase, for messages."""
        return {name: m.guard.phase.name for name, m in self.managers.items()}

    @property
    def active(self) -> list[str]:
        """Who believes to be the active."""
        return [n for n, m in self.managers.items() if m.running and m.guard.phase is Phase.ACTIVE]

    def join(self, name: str, *, profile: str) -> None:
        """Start one more manager, set as it likes."""
        self.profiles[name] = profile
        self.managers[name] = SimManager(name, self)

    def settle(self) -> SimManager:
        """Let time pass until exactly one is active and all others stand by; the active."""
        waiting = {Phase.STANDBY, Phase.ACTIVE}
        self.until(
            lambda: (
                len(self.active) == 1
                and all(m.guard.phase in waiting for m in self.managers.values() if m.running)
            ),
            60,
        )
        return self.managers[self.active[0]]

    def push(self, *operations: Put | Delete) -> None:
        """An operator's hand in the store."""
        self.loop.run_until_complete(self.store.commit(operations))

    def leader(self):
        """The leader key as it stands."""
        return self.loop.run_until_complete(self.store.get(KEYS.leader))

    def leader_name(self) -> str | None:
        """Return the name in the leader key; None if nobody leads."""
        record = self.leader()
        return decode(record.value, Leader).name if record else None

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Let ``call`` happen after ``seconds``, whoever is frozen then."""
        self.loop.call_later(seconds, call, context=context_of("the world"))

    def clear_up(self) -> None:
        """Mend every cable, wake everybody, start who was stopped."""
        for name, manager in self.managers.items():
            manager.wire.weather = Weather.FINE
            manager.wire.slow_s = 0.0
            self.loop.thaw(name)
            self.loop.thaw(f"{name}/worker")
            if not manager.running:
                manager.start()

    def resign(self, name: str, successor: str = "") -> None:
        """An operator asks manager ``name`` to resign."""
        worker = self.managers[name].worker
        if worker is not None and not worker.dead:
            worker.say(Resign(reason="asked", successor=successor))

    def freeze(self, process: str, seconds: float) -> None:
        """Stop a guard with its worker (``a``) or a worker (``a/worker``) for ``seconds``."""
        self.loop.freeze(process)
        self.later(seconds, lambda: self.loop.thaw(process))


async def _all_done(tasks: set[asyncio.Task[object]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=60)
