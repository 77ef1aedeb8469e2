"""Starts, stops and reloads the modules of the active manager.

``reconcile`` compares the enabled modules in the store with those that run, and starts or stops
the difference; it does not depend on which change it is called for. A module that is enabled while
its instance still stops is started as soon as that has stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from mgr.active.health.manager_checks import ModuleState
from mgr.active.modules.collaborators import (
    Isolator,
    ModuleCallbacks,
    OutsideEffects,
    Place,
)
from mgr.active.modules.leftovers import leftovers, wait_ended
from mgr.active.modules.restarting import RestartingModule
from mgr.command.builtin.context import ModuleInfo, ReloadResult
from mgr.command.dispatch import Runner
from mgr.config.effects import MODULE_EFFECTS, readable_effects
from mgr.config.enabled_modules import DEFAULT_ENABLED, enabled_modules
from mgr.config.isolation import Isolation
from mgr.errors import (
    InvalidArgumentError,
    ModuleFailedError,
    ModuleNotEnabledError,
    NotFoundError,
)
from mgr.host.abandoned import REMEDY, ModuleRole
from mgr.host.bridge import Bridge, module_threads
from mgr.host.command_calls import CommandCalls
from mgr.host.crash import CrashHandler, ignore_crash
from mgr.host.effects import Classification
from mgr.host.execution import Execution, ModuleInstance, OnDied
from mgr.host.finder import DiscoveredModule, always_on, no_module
from mgr.host.imports import isolation
from mgr.host.lifecycle import ENDED, READY, Event, Phase
from mgr.host.limits import Limits
from mgr.host.module_environment import Environments
from mgr.host.notifications import NotifyId
from mgr.host.reload import reread_files, sync_environment
from mgr.host.runner import ModuleRunner
from mgr.host.worker_context import WorkerContext
from mgr.store.mirror import KeyChange
from mgr.waiting import Broadcast

ABSENT: Final = "Not found or unloadable"
"""Ceph's text for an enabled module that is not on this host."""

THREADS_EVERY_S: Final = 0.01
"""How often a drain checks whether threads of modules still run."""

log = logging.getLogger(__name__)


class ActiveModules:
    """Runs every enabled module. Use it on the loop; ``instance_of`` from any thread."""

    def __init__(  # noqa: PLR0913 - what it calls, by name
        self,
        manager: WorkerContext,
        construct: Callable[[DiscoveredModule, Bridge], ModuleInstance],
        *,
        tasks: asyncio.TaskGroup,
        limits: Limits,
        callbacks: ModuleCallbacks,
        outside: OutsideEffects,
        isolate: Isolator,
    ) -> None:
        """Construct instances with ``construct``, each on its own thread.

        ``isolate`` is for modules that run in processes of their own.

        ``outside`` has the conditions for those that act outside the store.
        """
        self.outside = outside
        self.clock = manager.clock
        self.command_calls = CommandCalls(manager.clock)
        self._manager = manager
        self._construct = construct
        self._isolate = isolate
        self._tasks = tasks
        self._limits = limits
        self._callbacks = callbacks
        self._runners: dict[str, ModuleRunner] = {}
        self._launched: set[str] = set()
        # Runners whose instance may act by now, and whether it was external when it started. The
        # option that decides may change meanwhile.
        self._external_at_start: dict[ModuleRunner, bool] = {}
        self._places: dict[ModuleRunner, Place] = {}
        self._environments = Environments.of(manager.settings)
        self._stopping: set[str] = set()
        self._stopped = Broadcast()
        self._reloading = asyncio.Lock()
        self._enabled: tuple[str, ...] = ()
        self._draining = False
        self._on_crash: CrashHandler = ignore_crash
        # Replaced as a whole, so that any thread may read it.
        self._instances: Mapping[str, object] = {}

    async def start(self) -> None:
        """Construct every enabled module, all at once; wait until each is loaded or late.

        A module whose start is delayed is not waited for; commands for it wait.
        """
        self._manager.abandoned_instances.subscribe(self._abandoned_changed)
        self.reconcile()
        catalogue = self._manager.catalogue
        for name, runner in tuple(self._runners.items()):
            if not self._start_delay_s(catalogue[name]):
                await runner.wait_loaded()

    def reconcile(self, _changes: object = None) -> None:
        """Start enabled modules that do not run; stop those that are no longer enabled."""
        if self._draining:
            return
        manager = self._manager
        before, known = self._enabled, manager.catalogue
        self._enabled = tuple(
            enabled_modules(manager.mirror, manager.keys, always_on(known), known)
        )
        for name in self._enabled:
            found = manager.catalogue.get(name)
            if found is None:
                continue
            for crash in found.crashes if name not in before else ():
                self._on_crash(crash)
            # Two instances of a module never run at the same time: it starts when the other has
            # ended.
            if found.loaded and name not in self._runners and not self._blocked_by(name):
                self._launch(found)
        quarantined = manager.quarantine_reasons()
        for name in (
            self._runners.keys() - (set(self._enabled) - quarantined.keys()) - self._stopping
        ):
            self._stopping.add(name)
            self._tasks.create_task(self._disable(name))

    async def sync_libraries(self, name: str) -> str:
        """Install what ``name`` requires on this host; return a digest of its requirements.

        Raises:
            InvalidArgumentError: It requires nothing, or that cannot be installed.

        """
        place = self._manager.catalogue[name].place
        return await sync_environment(self._manager.settings, name, place)

    async def reload(self, name: str) -> ReloadResult:
        """Import the module's files again and restart the module if it is enabled.

        No other module restarts. Commands for this one wait meanwhile.

        Raises:
            InvalidArgumentError: The files cannot be imported; the old code goes on running.

        """
        if why := self._manager.quarantine_reason(name):
            raise InvalidArgumentError(f"module '{name}' was not reloaded: {why}")
        async with self._reloading:
            found = await reread_files(self._manager, name)
            if not found.loaded:
                raise InvalidArgumentError(f"module '{name}' was not reloaded: {found.error}")
            self._manager.register_module(found)
            self._callbacks.on_reloaded(found)
            if name in self._runners and name not in self._stopping:
                self._stopping.add(name)
                await self._disable(name)
            else:
                self.reconcile()
        runs = name in self._enabled and self._manager.abandoned_instances.find(name) is None
        return ReloadResult(runs=runs, digest=found.digest)

    def forget(self, name: str) -> None:
        """Remove the module ``name``, which is not enabled and whose files are gone."""
        self._manager.forget_module(name)
        self._callbacks.on_reloaded(no_module(name))

    def has_run(self, name: str) -> bool:
        """Return whether ``name`` was started in this term, from files that still exist."""
        found = self._manager.catalogue.get(name)
        return name in self._launched and found is not None and Path(found.place).is_file()

    async def still_acting(self, name: str) -> str:
        """Wait until ``name`` was stopped; describe what of it still acts, empty if nothing."""
        await self.wait_stopped(name)
        if blocked := self._blocked_by(name):
            return blocked
        left = await wait_ended(name, self.clock)
        return f"{left}; {REMEDY}" if left else ""

    def leftovers(self) -> tuple[str, ...]:
        """Describe what stopped modules left behind: threads, processes, listening sockets."""
        return leftovers(self._runners)

    @property
    def acts_outside(self) -> bool:
        """Whether any module instance may act outside the store.

        That includes instances that are being constructed or stopped, wait to be restarted, or
        did not stop.
        """
        started = (
            external or (self._external(each.name) and not self._places[each].timed)
            for each, external in self._external_at_start.items()
        )
        abandoned = (each.external for each in self._manager.abandoned_instances.all())
        return any(started) or any(abandoned) or bool(self._own_threads())

    @property
    def enabled(self) -> tuple[str, ...]:
        """The names of the enabled modules, as of the last ``reconcile``."""
        return self._enabled

    async def drain(self, *, limit_s: float) -> bool:
        """Stop every module, all at once, within ``limit_s``; return whether all have stopped.

        Returns False also while an abandoned instance still runs in this worker, or a thread that
        an external module started itself.
        """
        self._draining = True
        end_s = self.clock.now() + limit_s
        runners = tuple(self._runners.values())
        async with asyncio.TaskGroup() as stops:
            ends = [stops.create_task(runner.stop(limit_s=limit_s)) for runner in runners]
        if not all(end.result() for end in ends) or self._manager.abandoned_instances.all():
            return False
        # Polling: Python has no event for the end of a thread.
        while (threads := self._own_threads()) and self.clock.now() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(THREADS_EVERY_S)
        if threads:
            log.error("threads of modules still run", extra={"threads": threads})
        return not threads

    # -- read by others -------------------------------------------------------------------------

    def runner_of(self, module: str) -> Runner:
        """Return the runner of the commands of ``module``.

        Raises:
            ModuleNotEnabledError: It is not enabled; the message says how to enable it.
            ModuleFailedError: It is enabled and cannot run.
            NotFoundError: There is no such module on this host.

        """
        if module not in self._enabled:
            raise ModuleNotEnabledError(
                f"Module '{module}' is not enabled: "
                f"use `mgrctl mgr module enable {module}` to enable it"
            )
        found = self._manager.catalogue.get(module)
        if found is None:
            raise NotFoundError(f"Module '{module}' is not available")
        if not found.can_run:
            raise ModuleFailedError(
                f"Module '{module}' has experienced an error and cannot handle commands: "
                f"{found.error}"
            )
        if module in self._stopping:
            return RestartingModule(self, module)
        if module not in self._runners:
            raise ModuleFailedError(f"Module '{module}' does not run: {self.error_of(module)}")
        return self._runners[module]

    async def wait_stopped(self, module: str) -> None:
        """Wait until no instance of ``module`` is being stopped."""
        while module in self._stopping:
            await self._stopped.wait()

    def instance_of(self, module: str) -> object | None:
        """Return the running instance of ``module``, or None. From any thread."""
        return self._instances.get(module)

    def error_of(self, module: str) -> str:
        """Return why ``module`` does not run although it is enabled; empty if it does."""
        found = self._manager.catalogue.get(module)
        if found is None:
            return ABSENT
        if not found.loaded:
            return found.error or ABSENT
        runner = self._runners.get(module)
        return runner.error if runner else self._blocked_by(module)

    def _blocked_by(self, module: str) -> str:
        """Return why ``module`` must not start: it is quarantined, or an earlier instance runs."""
        if why := self._manager.quarantine_reason(module):
            return why
        instance = self._manager.abandoned_instances.find(module)
        return f"{instance}, and still runs: {REMEDY}" if instance else ""

    def modules(self) -> dict[str, ModuleInfo]:
        """Return every module on this host, as ``mgr module ls`` shows it."""
        return {
            name: ModuleInfo(
                name=name,
                always_on=found.always_on,
                can_run=found.can_run,
                error=(self.error_of(name) if name in self._enabled else "")
                or found.error
                or self._blocked_by(name),
                default_enabled=name in DEFAULT_ENABLED,
                blocked_by=self._blocked_by(name),
                effects=self._classify(found).effects.value,
                effects_source=self._classify(found).source.value,
                place=found.place,
                manifest=found.manifest,
                changes=found.changes,
                libraries=self._environments.state(name, found.place).value,
                package=found.installed,
            )
            for name, found in self._manager.catalogue.items()
        }

    def states(self) -> Iterator[ModuleState]:
        """Yield the state of every enabled module, for the health checks."""
        for name in self._enabled:
            found = self._manager.catalogue.get(name)
            cannot = found.error if found and found.loaded and not found.can_run else ""
            # An instance that did not stop has a check of its own.
            error = "" if self._blocked_by(name) else self.error_of(name)
            yield ModuleState(name=name, cannot_run=cannot, error=error)

    def phases(self) -> dict[str, tuple[str, int]]:
        """Return the phase of each module that runs, and how often it was restarted."""
        return {name: (each.phase.value, each.restarts) for name, each in self._runners.items()}

    def on_crash(self, call: CrashHandler) -> None:
        """Call ``call`` with each exception that a module raises, while loading or running."""
        self._on_crash = call

    # -- notifications --------------------------------------------------------------------------

    def notify(self, kind: str, notify_id: NotifyId) -> None:
        """Notify every module whose ``NOTIFY_TYPES`` include ``kind``."""
        for name, runner in self._runners.items():
            if kind in self._manager.catalogue[name].notify_types:
                runner.notify(kind, notify_id)

    def watch(self, module: str, prefix: str, *, on: bool) -> None:
        """Start or stop notifying ``module`` of changes of its stored keys under ``prefix``."""
        if runner := self._runners.get(module):
            (runner.watch if on else runner.unwatch)(prefix)

    def notify_store(self, changes: Iterable[KeyChange]) -> None:
        """Notify each module of changes of those stored keys that it watches."""
        prefix = self._manager.keys.module_entries
        for change in changes:
            module, _, key = change.key.removeprefix(prefix).partition("/")
            if runner := self._runners.get(module):
                runner.notify_store(key)

    def notify_config(self, changed: frozenset[str]) -> None:
        """Notify every module that options changed, also of others' options: as Ceph does."""
        if MODULE_EFFECTS in changed and self.acts_outside:
            # A module that runs already may count as external from now on.
            self._tasks.create_task(self._limit_time())
        for runner in self._runners.values():
            runner.notify_config()

    # -- inside ---------------------------------------------------------------------------------

    def _launch(self, found: DiscoveredModule) -> None:
        place = Place(isolation(self._manager, found.name) is Isolation.PROCESS)
        runner = ModuleRunner(
            found.name,
            partial(self._construct, found),
            limits=self._limits,
            clock=self._manager.clock,
            on_event=self._on_event,
            on_crash=self._on_crash,
            command_calls=self.command_calls,
            isolate=partial(self._execution_of, found.name, place),
        )
        self._places[runner] = place
        self._runners[found.name] = runner
        self._manager.metrics.measure_dropped(found.name, lambda: runner.notifications_dropped)
        self._launched.add(found.name)
        self._tasks.create_task(self._run_module(found, runner), name=f"module {found.name}")
        self._tasks.create_task(self._watch_loading(found, runner))

    def _execution_of(self, name: str, place: Place, on_died: OnDied) -> Execution | None:
        """Make the execution of the next instance; None if it is to run in threads."""
        if not place.isolated:
            return None
        found = self._manager.catalogue[name]
        return self._isolate.execution(found, on_died, timed=place.timed)

    def _start_delay_s(self, found: DiscoveredModule) -> float:
        """Return how long ``found`` must not start yet: an earlier worker may still act outside."""
        external = self._classify(found).external
        return max(0.0, self.outside.from_s - self.clock.now()) if external else 0.0

    def _classify(self, found: DiscoveredModule) -> Classification:
        chosen = self._manager.config.manager_option(MODULE_EFFECTS)
        return found.classify(readable_effects(str(chosen or "")))

    def _own_threads(self) -> dict[str, list[str]]:
        """Return the running threads that external modules started themselves, by module."""
        # Threads of other modules can only write to the store, which rejects that after the term.
        return {name: threads for name, threads in module_threads().items() if self._external(name)}

    def _external(self, module: str) -> bool:
        found = self._manager.catalogue.get(module)
        return found is None or self._classify(found).external

    async def _run_module(self, found: DiscoveredModule, runner: ModuleRunner) -> None:
        if start_delay_s := self._start_delay_s(found):
            fields = {"module_name": found.name, "start_delay_s": round(start_delay_s, 3)}
            log.info(
                "module start delayed: the previous leader may still act outside etcd", extra=fields
            )
        # In a loop: a timer may fire a moment early, and the option may change meanwhile.
        while start_delay_s := self._start_delay_s(found):  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(start_delay_s)
        place, external = self._places[runner], self._classify(found).external
        # A process with a deadline of its own does not need one for the whole worker.
        place.timed = external and place.isolated and await self._isolate.can_time()
        self._external_at_start[runner] = external and not place.timed
        try:
            if external and not place.timed:
                await self.outside.before_start()
            await runner.run_until_stopped()
        finally:
            del self._external_at_start[runner], self._places[runner]

    async def _watch_loading(self, found: DiscoveredModule, runner: ModuleRunner) -> None:
        await asyncio.sleep(self._start_delay_s(found))
        try:
            async with asyncio.timeout(self._manager.settings.module_load_s):
                await runner.wait_loaded()
        except TimeoutError:
            runner.load_limit_passed()

    async def _disable(self, name: str) -> None:
        await self._runners[name].stop()
        del self._runners[name]
        self._stopping.discard(name)
        self._manager.metrics.forget_module(name)
        self._callbacks.on_stopped(name)
        self.reconcile()
        self._stopped.notify()

    async def _limit_time(self) -> None:
        await self.outside.before_start()

    def _abandoned_changed(self) -> None:
        self.reconcile()
        self._callbacks.on_abandoned_changed()

    def _on_event(self, runner: ModuleRunner, event: Event) -> None:
        if event is Event.STOP_LIMIT_PASSED:
            external = self._external_at_start.get(runner, True) or self._external(runner.name)
            self._manager.abandoned_instances.add(
                runner.name, ModuleRole.ACTIVE, runner.leftovers, external=external
            )
        metrics = self._manager.metrics
        metrics.set_module_up(runner.name, up=runner.phase in READY)
        if event is Event.PAUSE_OVER or (event is Event.DIED and runner.phase is Phase.RESTARTING):
            metrics.module_restarts.labels(runner.name).inc()
        self._instances = {
            name: each.instance
            for name, each in self._runners.items()
            if each.instance is not None and each.phase not in {*ENDED, Phase.STOPPING}
        }
        self._callbacks.on_event(runner.name, event)
