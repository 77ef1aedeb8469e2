"""The modules of the active manager: which run, which should, and how they are.

Level, not edge: ``look`` compares what the store wants with what runs and starts or stops the
difference. A module that is enabled while it still stops is started as soon as it has stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from mgr.command.builtin.admin import ModuleInfo
from mgr.command.dispatch import Runner
from mgr.errors import ModuleFailedError, ModuleNotEnabledError, NotFoundError
from mgr.health.manager import ModuleState
from mgr.host.bridge import Bridge
from mgr.host.enabled import DEFAULT_ENABLED, enabled_modules
from mgr.host.finder import Found
from mgr.host.life import ENDED, WORKS, Event, Phase
from mgr.host.manager import Manager
from mgr.host.news import NotifyId
from mgr.host.runner import Limits, ModuleRunner, Servant
from mgr.store.mirror import Change

ABSENT: Final = "Not found or unloadable"
"""Ceph's words for an enabled module that is not on this host."""

log = logging.getLogger(__name__)


class ActiveModules:
    """Runs every module that is enabled. Use it on the loop; ``instance_of`` from anywhere."""

    def __init__(
        self,
        manager: Manager,
        construct: Callable[[Found, Bridge], Servant],
        *,
        tasks: asyncio.TaskGroup,
        limits: Limits,
        changed: Callable[[str, Event], None],
        stopped: Callable[[str], None],
    ) -> None:
        """Make instances with ``construct``, on their own threads.

        ``changed`` is told what happened to a module, ``stopped`` that one runs no more.
        """
        self._manager = manager
        self._construct = construct
        self._tasks = tasks
        self._limits = limits
        self._changed = changed
        self._stopped = stopped
        self._runners: dict[str, ModuleRunner] = {}
        self._going: set[str] = set()
        self._wanted: tuple[str, ...] = ()
        self._draining = False
        # Replaced as a whole, so that any thread may read it.
        self._instances: Mapping[str, object] = {}

    async def start(self) -> None:
        """Construct every enabled module, all at once; returns when each is there or late."""
        self.look()
        for runner in tuple(self._runners.values()):
            await runner.loaded()

    def look(self, _changes: object = None) -> None:
        """Start what should run and does not; stop what runs and should not."""
        if self._draining:
            return
        self._wanted = tuple(enabled_modules(self._manager.mirror, self._manager.keys))
        for name in self._wanted:
            found = self._manager.catalogue.get(name)
            if found is not None and found.loaded and name not in self._runners:
                self._launch(found)
        for name in self._runners.keys() - set(self._wanted) - self._going:
            self._going.add(name)
            self._tasks.create_task(self._disable(name))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The modules that are enabled, by name, as of the last ``look``."""
        return self._wanted

    async def drain(self, *, limit_s: float) -> bool:
        """Stop every module, all at once, within ``limit_s``; whether each did stop."""
        self._draining = True
        runners = tuple(self._runners.values())
        async with asyncio.TaskGroup() as stops:
            ends = [stops.create_task(runner.stop(limit_s=limit_s)) for runner in runners]
        return all(end.result() for end in ends)

    # -- asked by others ------------------------------------------------------------------------

    def runner_of(self, module: str) -> Runner:
        """Who runs the commands of ``module``.

        Raises:
            ModuleNotEnabledError: It is not enabled; the message says how to enable it.
            ModuleFailedError: It is enabled and cannot run.
            NotFoundError: There is no such module on this host.

        """
        if module not in self._wanted:
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
        return self._runners[module]

    def instance_of(self, module: str) -> object | None:
        """The running instance of ``module``; None if there is none. From any thread."""
        return self._instances.get(module)

    def error_of(self, module: str) -> str:
        """Why ``module`` does not run although it is enabled; empty if it does."""
        found = self._manager.catalogue.get(module)
        if found is None:
            return ABSENT
        if not found.loaded:
            return found.error or ABSENT
        runner = self._runners.get(module)
        return runner.error if runner else ""

    def modules(self) -> dict[str, ModuleInfo]:
        """Every module on this host, as ``mgr module ls`` shows it."""
        return {
            name: ModuleInfo(
                name=name,
                can_run=found.can_run,
                error=(self.error_of(name) if name in self._wanted else "") or found.error,
                default_enabled=name in DEFAULT_ENABLED,
            )
            for name, found in self._manager.catalogue.items()
        }

    def states(self) -> Iterator[ModuleState]:
        """Every enabled module as its health is judged."""
        for name in self._wanted:
            found = self._manager.catalogue.get(name)
            cannot = found.error if found and found.loaded and not found.can_run else ""
            yield ModuleState(name=name, cannot_run=cannot, error=self.error_of(name))

    # -- news -----------------------------------------------------------------------------------

    def notify(self, kind: str, notify_id: NotifyId) -> None:
        """Tell every module that wants ``kind``."""
        for name, runner in self._runners.items():
            if kind in self._manager.catalogue[name].notify_types:
                runner.notify(kind, notify_id)

    def watch(self, module: str, prefix: str, *, on: bool) -> None:
        """Begin or end telling ``module`` of its stored keys that begin with ``prefix``."""
        if runner := self._runners.get(module):
            (runner.watch if on else runner.unwatch)(prefix)

    def notify_store(self, changes: Iterable[Change]) -> None:
        """Tell each module of those of its stored keys that it watches."""
        prefix = self._manager.keys.module_entries
        for change in changes:
            module, _, key = change.key.removeprefix(prefix).partition("/")
            if runner := self._runners.get(module):
                runner.notify_store(key)

    def notify_config(self, _changes: object = None) -> None:
        """Tell every module that options changed, whether or not its own did: as Ceph does."""
        for runner in self._runners.values():
            runner.notify_config()

    # -- inside ---------------------------------------------------------------------------------

    def _launch(self, found: Found) -> None:
        runner = ModuleRunner(
            found.name,
            partial(self._construct, found),
            limits=self._limits,
            clock=self._manager.clock,
            changed=self._happened,
        )
        self._runners[found.name] = runner
        self._tasks.create_task(runner.live(), name=f"module {found.name}")
        self._tasks.create_task(self._watch_loading(runner))

    async def _watch_loading(self, runner: ModuleRunner) -> None:
        try:
            async with asyncio.timeout(self._manager.settings.module_load_s):
                await runner.loaded()
        except TimeoutError:
            runner.load_limit_passed()

    async def _disable(self, name: str) -> None:
        await self._runners[name].stop()
        del self._runners[name]
        self._going.discard(name)
        self._manager.metrics.forget_module(name)
        self._stopped(name)
        self.look()

    def _happened(self, runner: ModuleRunner, event: Event) -> None:
        metrics = self._manager.metrics
        metrics.set_module_up(runner.name, up=runner.phase in WORKS)
        metrics.news_dropped.labels(runner.name).set(runner.news_dropped)
        if event is Event.PAUSE_OVER:
            metrics.module_restarts.labels(runner.name).inc()
        self._instances = {
            name: each.instance
            for name, each in self._runners.items()
            if each.instance is not None and each.phase not in {*ENDED, Phase.STOPPING}
        }
        self._changed(runner.name, event)
