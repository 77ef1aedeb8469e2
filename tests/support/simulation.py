"""Whole managers on virtual time, with network faults; every write and effect is checked.

The guard and the election are the real ones. For etcd there is a dictionary behind a lossy
connection, for a worker something that acts like one. A checker sees every effect and every write.

With ``external`` a worker also has what real modules have: a thread that acts and asks nobody, and
processes that it started. The kernel ends them at the moment that the guard allowed
(``set_kill_timer``), however frozen they are. Without, a worker asks its gate before each effect.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Self

from mgr.election.machine import Phase
from mgr.election.records import Leader, decode
from mgr.errors import MgrError
from mgr.guard.identity import ProcessIdentity
from mgr.guard.loop import Guard
from mgr.guard.notify_systemd import Notifier
from mgr.guard.worker_supervisor import WorkerListener
from mgr.link import (
    Resign,
)
from mgr.settings import PROFILE_DEFAULTS, Settings
from mgr.store.api import Delete, Put, Store
from mgr.store.identity import StoreIdentity
from mgr.store.memory import MemoryStore
from tests.support.network_faults import KEYS, FaultyStore, NetworkFault, SafetyChecker
from tests.support.sim_worker import SimWorker
from tests.support.virtual_loop import HostClock, VirtualClock, VirtualLoop, context_of

CERTIFICATES = {"tls_ca": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}
"""Settings of a manager that can tell who its clients are. Guards read no such file."""


class Systemd(Notifier):
    """Records the notifications to systemd."""

    def __init__(self) -> None:
        super().__init__({})
        self.messages: list[str] = []

    def notify(self, *states: str) -> None:
        """Remember it."""
        self.messages += states


class SimManager:
    """One manager: the real guard over a wire, with simulated workers."""

    def __init__(self, name: str, world: Simulation, *, host: str = "") -> None:
        self.name = name
        self.world = world
        self.host = host or name
        self.clock = HostClock(world.loop, name)
        self.wire = FaultyStore(world.store, world.checker, world.loop, world.rng)
        self.worker: SimWorker | None = None
        self.failure: BaseException | None = None
        self.port_taken = False
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Start the guard as a new process."""
        self._starts += 1
        me = ProcessIdentity(
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
            downgrade=self.name in self.world.downgrade_allowed,
            **(CERTIFICATES if self.name in self.world.authenticating else {}),
            **PROFILE_DEFAULTS.get(profile, {}),
        )
        self.systemd = Systemd()
        self.guard = Guard(
            self.settings, self.wire, self.clock, self._start_worker, me, self.systemd
        )
        self.identity = StoreIdentity(clock=self.world.clock)
        self.guard.use_identity(self.identity)
        self.task = self.world.loop.create_task(self._run(), context=context_of(self.name))

    async def _run(self) -> None:
        try:
            await self.guard.run()
        except MgrError as error:
            self.failure = error

    def _start_worker(self, incarnation: str, listener: WorkerListener) -> SimWorker:
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
        external: bool = False,
        timer: bool = True,
        reaper: bool = True,
    ) -> None:
        """Start managers of these names.

        With ``external``, modules act and ask nobody. A broken build has no ``timer`` that ends
        a worker at its deadline, or no ``reaper`` that ends what a worker started.
        """
        self.clock = VirtualClock()
        self.loop = VirtualLoop(self.clock)
        self.rng = random.Random(seed)
        self.ttl_s = ttl_s
        self.profile = profile
        self.profiles: dict[str, str] = {}
        self.releases: dict[str, str] = {}
        """What a manager runs from its next start on."""
        self.downgrade_allowed: set[str] = set()
        """Who may lead after a newer release, from its next start on."""
        self.authenticating: set[str] = set()
        """Who asks clients for certificates, from its next start on."""
        self.broken_store = broken_store
        self.external = external
        self.timer = timer
        self.reaper = reaper
        self.dumps = 0
        self.store = MemoryStore(self.clock)
        self.checker = SafetyChecker(self.clock)
        self.managers = {name: SimManager(name, self) for name in names}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.managers:
            self.loop.resume(name)
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
            if self.checker.violation is not None:
                raise self.checker.violation
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

    def write_as_operator(self, *operations: Put | Delete) -> None:
        """The store, to write to it as an operator could."""
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
        """End all faults, thaw every process, start what was stopped."""
        for name, manager in self.managers.items():
            manager.wire.network_fault = NetworkFault.NONE
            manager.wire.slow_s = 0.0
            self.resume(name)
            self.loop.thaw(name)
            self.loop.thaw(f"{name}/worker")
            if not manager.running:
                manager.start()

    def resign(self, name: str, successor: str = "") -> None:
        """An operator asks manager ``name`` to resign."""
        worker = self.managers[name].worker
        if worker is not None and not worker.dead:
            worker.send_to_guard(Resign(reason="asked", successor=successor))

    def freeze(self, process: str, seconds: float, *, alone: bool = False) -> None:
        """Stop a guard with its worker (``a``) or a worker (``a/worker``) for ``seconds``.

        With ``alone`` a guard without its worker.
        """
        self.loop.freeze(process, alone=alone)
        self.later(seconds, lambda: self.loop.thaw(process))

    def pause(self, name: str, seconds: float) -> None:
        """Stop the host of manager ``name`` for ``seconds`` that its own clock does not count.

        Against that no clock helps, so that effects outside may come late; the checker allows it.
        """
        self.checker.on_host_pause(name)
        self.loop.pause(name)
        self.later(seconds, lambda: self.resume(name))

    def resume(self, name: str) -> None:
        """Let a paused host go on."""
        if self.loop.is_paused(name):
            self.checker.on_host_pause(name)
            self.loop.resume(name)


async def _all_done(tasks: set[asyncio.Task[object]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=60)
