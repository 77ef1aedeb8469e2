"""The standby role: ready to be promoted, runs the standby classes of modules, refuses commands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn, Protocol

from mgr.access.table import INTERNAL_CALLER, Caller
from mgr.config.enabled_modules import enabled_modules
from mgr.config.isolation import Isolation
from mgr.config.manager_options import STANDBY_MODULES
from mgr.errors import NotFoundError
from mgr.host.abandoned import ModuleRole
from mgr.host.bridge import Bridge
from mgr.host.cluster_view import not_active_error
from mgr.host.command_calls import CommandCalls
from mgr.host.execution import ModuleInstance, OnDied, in_threads
from mgr.host.finder import DiscoveredModule, always_on
from mgr.host.imports import import_here, isolation
from mgr.host.lifecycle import Event
from mgr.host.limits import Limits
from mgr.host.runner import ModuleRunner
from mgr.host.worker_context import WorkerContext
from mgr.module_process.execution import ProcessExecution
from mgr.module_process.host_side import HostSide
from mgr.module_process.load_order import LoadOrder
from mgr.module_process.process import ModuleProcess
from mgr.module_process.zygote_link import ZygoteError
from mgr.waiting import wait
from standby.commands import execute_unled
from standby.context import StandbyModuleContext

STOP_S: Final = 0.5
"""Limit for stopping a module's standby instance when this manager is promoted. Commands wait
meanwhile, so it is short; an instance that does not stop in time is abandoned."""

LIMITS: Final = Limits(stop_s=STOP_S)

log = logging.getLogger(__name__)


class Active(Protocol):
    """The active role of this worker, as far as waiting commands need it."""

    async def execute(self, request: Any) -> Any:
        """Run one command."""
        ...


class StandbyRole:
    """Implements ``mgr.host.role.Role`` for a standby."""

    state: Final = "standby"
    log: Final = None
    fleet: Final = None
    maps: Final = None
    audit: Final = None
    issuer: Final = None

    def __init__(
        self,
        manager: WorkerContext,
        tasks: asyncio.TaskGroup,
        on_errors_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Refuse commands from here on; modules run in ``tasks`` after ``run`` was called.

        ``on_errors_changed`` is called when ``errors`` has changed.
        """
        self.errors: Mapping[str, str] = {}
        """Why standby instances failed, by module; one that runs well again is left out."""
        self._on_errors_changed = on_errors_changed
        self._manager = manager
        self._tasks = tasks
        self._http_address = ""
        self._runners: dict[str, ModuleRunner] = {}
        self._stopping_modules: set[str] = set()
        self._stopping = False
        self._active: Active | None = None
        self._promoted = asyncio.Event()

    async def run(self, http_address: str) -> None:
        """Run the standby classes of enabled modules once another manager is active.

        Before that they could not redirect clients to anyone. ``http_address`` is this manager's
        own.
        """
        self._http_address = http_address
        manager = self._manager
        async for leader in manager.view.changes():
            if self._stopping:
                return
            if leader is not None and leader.name != manager.id:
                break
        manager.abandoned_instances.subscribe(self.reconcile)
        for prefix in (manager.keys.modules, manager.keys.quarantines, manager.keys.module_deaths):
            manager.mirror.subscribe(prefix, self.reconcile)
        manager.config.subscribe(self.reconcile)
        self.reconcile()

    def reconcile(self, _changes: object = None) -> None:
        """Start the standby instances that should run and do not; stop those that should not."""
        if self._stopping:
            return
        wanted = self._modules_to_run()
        for found in wanted:
            earlier = self._manager.abandoned_instances.find(found.name, ModuleRole.STANDBY)
            if found.name not in self._runners and earlier is None:
                self._launch(found)
        for name in (
            self._runners.keys() - {found.name for found in wanted} - self._stopping_modules
        ):
            self._stopping_modules.add(name)
            self._tasks.create_task(self._disable(name))

    def restart_module(self, name: str) -> None:
        """Restart the standby instance of ``name``, if it runs, because its code was reloaded."""
        if name in self._runners and name not in self._stopping_modules and not self._stopping:
            self._stopping_modules.add(name)
            self._tasks.create_task(self._disable(name))

    async def stop(self) -> bool:
        """Stop every instance for good, within ``STOP_S``; return whether all have stopped."""
        self._stopping = True
        runners = tuple(self._runners.values())
        async with asyncio.TaskGroup() as stops:
            ends = [stops.create_task(runner.stop(limit_s=STOP_S)) for runner in runners]
        return all(end.result() for end in ends) and not self._manager.abandoned_instances.all()

    # -- called by the servers ------------------------------------------------------------------

    async def execute(self, request: Any) -> Any:
        """Refuse the command and name the active; if there is none, execute a few (``COMMANDS``).

        If this worker is elected but not promoted yet, there is no other manager to name: the
        command waits for the promotion, usually some milliseconds, and then runs.

        Raises:
            NotActiveError: Another manager is active, or none.

        """
        if self._elected():
            await wait(self._promoted, self._manager.settings.hold_s)
        if self._active is not None:
            return await self._active.execute(request)
        answer = await execute_unled(self._manager, request)
        if answer is None:
            raise not_active_error(self._manager.view.leader(), self._manager.id)
        return answer

    def promote(self, active: Active) -> None:
        """Pass waiting commands to ``active``, which answers from now on."""
        self._active = active
        self._promoted.set()

    def _elected(self) -> bool:
        leader = self._manager.view.leader()
        return leader is not None and leader.incarnation == self._manager.incarnation

    def describe(self) -> tuple[Sequence[NoReturn], NoReturn]:
        """Refuse: only the active has the list of commands.

        Raises:
            NotActiveError: Always.

        """
        raise not_active_error(self._manager.view.leader(), self._manager.id)

    async def fail(self, name: str, successor: str, caller: Caller = INTERNAL_CALLER) -> NoReturn:  # noqa: ARG002 - whoever it were
        """Refuse: a standby has no leadership to give up.

        Raises:
            NotActiveError: ``name`` is empty or another manager.
            NotFoundError: ``name`` is this manager.

        """
        if name == self._manager.id:
            raise NotFoundError(f"manager {name!r} is a standby: it has no leadership to give up")
        raise not_active_error(self._manager.view.leader(), self._manager.id)

    # -- inside ---------------------------------------------------------------------------------

    def _modules_to_run(self) -> list[DiscoveredModule]:
        manager = self._manager
        if not manager.config.manager_option(STANDBY_MODULES):
            return []
        return [
            found
            for name in enabled_modules(
                manager.mirror, manager.keys, always_on(manager.catalogue), manager.catalogue
            )
            if (found := manager.catalogue.get(name))
            and found.has_standby
            and found.can_run
            and not manager.quarantine_reason(name)
        ]

    def _launch(self, found: DiscoveredModule) -> None:
        isolated = isolation(self._manager, found.name) is Isolation.PROCESS
        runner = ModuleRunner(
            found.name,
            partial(self._construct, found),
            limits=LIMITS,
            clock=self._manager.clock,
            on_event=self._on_event,
            isolate=partial(self._execution, found) if isolated else in_threads,
        )
        self._runners[found.name] = runner
        self._tasks.create_task(runner.run_until_stopped(), name=f"standby {found.name}")

    def _construct(self, found: DiscoveredModule, bridge: Bridge) -> ModuleInstance:
        """Construct a standby instance. Runs on the module's own thread."""
        standby = import_here(self._manager, found, bridge).standby
        if standby is None:
            raise AssertionError("a module without a standby class cannot be constructed")
        context = StandbyModuleContext(self._manager, found.name, self._http_address)
        instance: ModuleInstance = standby(found.name, context)
        return instance

    def _execution(self, found: DiscoveredModule, on_died: OnDied) -> ProcessExecution:
        """Make the execution of a standby instance in a process of its own."""
        manager, settings = self._manager, self._manager.settings
        order = LoadOrder(settings.log_level, settings.log_format, settings.id)
        return ProcessExecution(
            found.name,
            start=partial(self._start, found),
            order=order.of(found.location),
            host=HostSide(manager, found, self._http_address),
            standby=True,
            on_died=on_died,
            limits=LIMITS,
            command_calls=CommandCalls(manager.clock),
            clock=manager.clock,
            tasks=self._tasks,
        )

    async def _start(self, found: DiscoveredModule) -> ModuleProcess:
        starter = self._manager.processes
        if starter is None:
            raise ZygoteError("this manager starts no processes for modules")
        process: ModuleProcess = await starter.start(found.name, place=found.place)
        return process

    def _on_event(self, runner: ModuleRunner, event: Event) -> None:
        if event is Event.STOP_LIMIT_PASSED:
            # Not external: standby instances redirect clients and do nothing on behalf of a term.
            self._manager.abandoned_instances.add(
                runner.name, ModuleRole.STANDBY, runner.leftovers, external=False
            )
        if event in {Event.SERVE_RAISED, Event.CONSTRUCTOR_RAISED, Event.DIED}:
            fields = {"module_name": runner.name, "error": runner.error}
            log.error("standby instance of a module failed", extra=fields)
        self._update_errors()

    def _update_errors(self) -> None:
        errors = {name: each.error for name, each in self._runners.items() if each.error}
        if errors != self.errors and not self._stopping:
            self.errors = errors
            self._on_errors_changed()

    async def _disable(self, name: str) -> None:
        await self._runners[name].stop()
        del self._runners[name]
        self._stopping_modules.discard(name)
        self._update_errors()
        self.reconcile()
