"""The standby's part: warm and waiting, its modules' standby halves running, nobody served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NoReturn, Protocol

from mgr.config.manager_options import STANDBY_MODULES
from mgr.errors import NotFoundError
from mgr.host.abandoned import ModuleRole
from mgr.host.bridge import Bridge
from mgr.host.cluster_view import not_active_error
from mgr.host.enabled import enabled_modules
from mgr.host.finder import DiscoveredModule, always_on
from mgr.host.lifecycle import Event
from mgr.host.runner import Limits, ModuleInstance, ModuleRunner
from mgr.host.worker_context import WorkerContext
from standby.context import StandbyContext
from standby.down import set_down

STOP_S: Final = 0.5
"""What a module's standby half gets to stop when this manager is promoted. Commands wait
meanwhile, so it is short: one that does not stop in it is abandoned."""

log = logging.getLogger(__name__)


class Active(Protocol):
    """What this worker becomes, as far as a held call needs it."""

    async def execute(self, request: Any) -> Any:
        """Run one command."""
        ...


class StandbyRole:
    """Implements ``mgr.host.role.Role`` for a manager that waits."""

    state: Final = "standby"
    log: Final = None
    fleet: Final = None
    maps: Final = None

    def __init__(self, manager: WorkerContext, tasks: asyncio.TaskGroup) -> None:
        """Refuse from here on; run modules in ``tasks`` once ``run`` is."""
        self._manager = manager
        self._tasks = tasks
        self._http_address = ""
        self._runners: dict[str, ModuleRunner] = {}
        self._stopping_modules: set[str] = set()
        self._stopping = False
        self._active: Active | None = None
        self._promoted = asyncio.Event()

    async def run(self, http_address: str) -> None:
        """Run the standby halves of enabled modules, from the first sight of an active on.

        A manager that never saw another one active has nobody to send anyone to. This one is
        itself reached at ``http_address``.
        """
        self._http_address = http_address
        manager = self._manager
        async for leader in manager.view.changes():
            if self._stopping:
                return
            if leader is not None and leader.name != manager.id:
                break
        manager.abandoned_instances.subscribe(self.reconcile)
        manager.mirror.subscribe(manager.keys.modules, self.reconcile)
        manager.mirror.subscribe(manager.keys.config, self.reconcile)
        self.reconcile()

    def reconcile(self, _changes: object = None) -> None:
        """Start what should run and does not; stop what runs and should not."""
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
        """Start the standby half of ``name`` anew, if it runs: its code was read anew."""
        if name in self._runners and name not in self._stopping_modules and not self._stopping:
            self._stopping_modules.add(name)
            self._tasks.create_task(self._disable(name))

    async def stop(self) -> bool:
        """Stop all of it, within ``STOP_S``; whether nothing of it runs any more. For good."""
        self._stopping = True
        runners = tuple(self._runners.values())
        async with asyncio.TaskGroup() as stops:
            ends = [stops.create_task(runner.stop(limit_s=STOP_S)) for runner in runners]
        return all(end.result() for end in ends) and not self._manager.abandoned_instances.all()

    # -- what the servers ask -------------------------------------------------------------------

    async def execute(self, request: Any) -> Any:
        """Refuse, and say where the active manager is; ``mgr set down`` is done if there is none.

        Between the moment this worker is elected and the moment it can act on it, there is
        nobody to name: the call is held, for some milliseconds as a rule, and then run.

        Raises:
            NotActiveError: Another manager leads, or none.

        """
        if self._elected():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._manager.settings.hold_s):
                    await self._promoted.wait()
        if self._active is not None:
            return await self._active.execute(request)
        answer = await set_down(self._manager, request.words, request.caller)
        if answer is None:
            raise not_active_error(self._manager.view.leader(), self._manager.id)
        return answer

    def promote(self, active: Active) -> None:
        """Give held calls to ``active``, which answers from now on."""
        self._active = active
        self._promoted.set()

    def _elected(self) -> bool:
        leader = self._manager.view.leader()
        return leader is not None and leader.incarnation == self._manager.incarnation

    def describe(self) -> tuple[Sequence[NoReturn], NoReturn]:
        """Refuse: only the active knows which commands there are.

        Raises:
            NotActiveError: Always.

        """
        raise not_active_error(self._manager.view.leader(), self._manager.id)

    async def fail(self, name: str, successor: str) -> NoReturn:  # noqa: ARG002 - whoever it were
        """Refuse: there is no office here to give up.

        Raises:
            NotActiveError: The active was meant, by name or as the active.
            NotFoundError: This manager was meant.

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
            for name in enabled_modules(manager.mirror, manager.keys, always_on(manager.catalogue))
            if (found := manager.catalogue.get(name)) and found.standby and found.can_run
        ]

    def _launch(self, found: DiscoveredModule) -> None:
        runner = ModuleRunner(
            found.name,
            partial(self._construct, found),
            limits=Limits(stop_s=STOP_S),
            clock=self._manager.clock,
            on_event=self._on_event,
        )
        self._runners[found.name] = runner
        self._tasks.create_task(runner.run_until_stopped(), name=f"standby {found.name}")

    def _construct(self, found: DiscoveredModule, _bridge: Bridge) -> ModuleInstance:
        """On the module's own thread."""
        if found.standby is None:
            raise AssertionError("only modules with a standby half are constructed")
        context = StandbyContext(self._manager, found.name, self._http_address)
        return found.standby(found.name, context)

    def _on_event(self, runner: ModuleRunner, event: Event) -> None:
        if event is Event.STOP_LIMIT_PASSED:
            # Standby halves send clients to the active; they do not act for a term.
            self._manager.abandoned_instances.add(
                runner.name, ModuleRole.STANDBY, runner.leftovers, external=False
            )
        if event is Event.SERVE_RAISED:
            fields = {"module_name": runner.name, "error": runner.error}
            log.error("standby half of a module failed", extra=fields)

    async def _disable(self, name: str) -> None:
        await self._runners[name].stop()
        del self._runners[name]
        self._stopping_modules.discard(name)
        self.reconcile()
