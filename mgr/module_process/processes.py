"""The zygotes of a worker: one for modules on its own libraries, and one for each environment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from mgr.clock import Clock
from mgr.config.values import ConfigValues
from mgr.host.module_environment import Environments
from mgr.module_process.cgroup import find_groups
from mgr.module_process.limit_watch import LimitWatch
from mgr.module_process.process import ModuleProcess
from mgr.module_process.zygote_end import ZygoteEnd
from mgr.module_process.zygote_link import ZygoteError, ZygoteLink

NO_ENVIRONMENTS = Environments(None)

SpawnZygote = Callable[[str], ZygoteEnd]
"""Starts a zygote that finds the packages in a folder first; an empty text: in none."""

log = logging.getLogger(__name__)


class ZygoteFamily:
    """A zygote, one with a deadline, and their processes. Use it on the loop."""

    def __init__(
        self, tasks: asyncio.TaskGroup, spawn: Callable[[], ZygoteEnd], first: ZygoteEnd | None
    ) -> None:
        """Use the zygote ``first``; ``spawn`` starts another one when there is none."""
        self._tasks = tasks
        self._spawn = spawn
        self._zygote: ZygoteLink | None = None
        self._timed_zygote: ZygoteLink | None = None
        self._timed_starting = asyncio.Lock()
        self._until_ns = 0
        self._end: ZygoteEnd | None = None
        self._closing = self._used = False
        if first is not None:
            self._use(first)

    async def start(self, module: str, *, timed: bool = False) -> ModuleProcess:
        """Start a process for ``module``, which has imported the module interface only.

        With ``timed`` it is killed at the deadline that ``set_deadline`` set last.

        Raises:
            ZygoteError: The system refuses it.

        """
        if not timed:
            return await self._running().start(module)
        if not await self.can_time() or self._timed_zygote is None:
            raise ZygoteError("the kernel refuses a timer for modules that act outside etcd")
        return await self._timed_zygote.start(module)

    async def can_time(self) -> bool:
        """Return whether processes can be started that the kernel ends at a deadline.

        Raises:
            ZygoteError: The system refuses the process that forks them.

        """
        async with self._timed_starting:
            if self._timed_zygote is None:
                control = await self._running().fork_zygote()
                link = ZygoteLink(control, self._tasks, self._on_timed_gone, deadline=True)
                link.set_deadline(self._until_ns)
                self._timed_zygote = link
        return await self._timed_zygote.timed

    def set_deadline(self, until_ns: int) -> None:
        """Have the timed processes killed at that moment of ``CLOCK_BOOTTIME``."""
        if until_ns != self._until_ns:
            self._until_ns = until_ns
            if self._timed_zygote is not None:
                self._timed_zygote.set_deadline(until_ns)

    def pids(self) -> dict[str, int]:
        """Return the living processes by module."""
        links = (self._zygote, self._timed_zygote)
        return {name: pid for link in links if link for name, pid in link.pids().items()}

    @property
    def busy(self) -> bool:
        """Whether there are processes, or one is being started."""
        links = (self._zygote, self._timed_zygote)
        return any(link is not None and link.busy for link in links)

    def close(self) -> None:
        """End every zygote and all processes below them, and wait until they are gone."""
        self._closing = True
        if self._timed_zygote is not None:
            self._timed_zygote.close()
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def _on_timed_gone(self, _link: ZygoteLink) -> None:
        self._timed_zygote = None

    def _running(self) -> ZygoteLink:
        if self._zygote is None:
            # Not logged when it ends: at the end of a term everything below the worker is killed.
            if self._used:
                log.error("the process that forks for modules has ended; another one is started")
            try:
                self._use(self._spawn())
            except OSError as error:
                raise ZygoteError(f"no process for modules can be started: {error}") from error
        if self._zygote is None:
            raise AssertionError("it was started just now")
        return self._zygote

    def _use(self, end: ZygoteEnd) -> None:
        self._end, self._used = end, True
        self._zygote = ZygoteLink(end.control, self._tasks, self._on_gone)

    def _on_gone(self, link: ZygoteLink) -> None:
        if link is not self._zygote:
            return
        self._zygote = None
        if self._end is not None:
            if self._closing:
                self._end.close()
            else:
                self._end.reap()
            self._end = None


class ModuleProcesses:
    """Starts processes for modules, and zygotes as they are needed. Use it on the loop."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        spawn: SpawnZygote,
        first: ZygoteEnd | None,
        environments: Environments = NO_ENVIRONMENTS,
    ) -> None:
        """Use the zygote ``first``; ``spawn`` starts another one when there is none."""
        self._tasks = tasks
        self._spawn = spawn
        self._environments = environments
        self._families = {"": ZygoteFamily(tasks, partial(spawn, ""), first)}
        self._limits: LimitWatch | None = None
        self._until_ns = 0

    async def start(self, module: str, *, place: str = "", timed: bool = False) -> ModuleProcess:
        """Start a process for ``module``, which has imported the module interface only.

        ``place`` is its file: if it has libraries of its own, they are found first. With ``timed``
        it is killed at the deadline that ``set_deadline`` set last.

        Raises:
            ZygoteError: The system refuses it.

        """
        family = self._family(self.environment_of(module, place))
        process = await family.start(module, timed=timed)
        if self._limits is not None:
            self._limits.begin(process)
        return process

    def environment_of(self, module: str, place: str) -> str:
        """Return the folder with the libraries of ``module``; empty if it has none of its own."""
        return self._environments.path(module, place)

    async def can_time(self) -> bool:
        """Return whether processes can be started that the kernel ends at a deadline.

        Raises:
            ZygoteError: The system refuses the process that forks them.

        """
        return await self._families[""].can_time()

    def set_deadline(self, deadline_s: float) -> None:
        """Have the timed processes killed at that moment on the clock."""
        # A moment that has passed, not 0, which means never.
        self._until_ns = max(1, int(deadline_s * 1e9)) if deadline_s > 0 else 1
        for family in self._families.values():
            family.set_deadline(self._until_ns)

    def enforce_limits(self, config: ConfigValues, clock: Clock, cgroup: str) -> None:
        """Enforce the limits that ``config`` has, from now on; ``cgroup`` as of ``find_groups``."""
        self._limits = LimitWatch(config.manager_option, clock, partial(find_groups, cgroup))
        config.subscribe(self._limits.reapply)
        self._tasks.create_task(self._limits.run(), name="limits of modules")

    def pids(self) -> dict[str, int]:
        """Return the living processes by module."""
        families = self._families.values()
        return {name: pid for family in families for name, pid in family.pids().items()}

    def reached_limits(self) -> tuple[tuple[str, str, str], ...]:
        """Return the limits that were reached lately: module, end of the health code, what."""
        reached = () if self._limits is None else self._limits.reached()
        return tuple((each.module, each.kind.value, each.text) for each in reached)

    def close(self) -> None:
        """End every zygote and all processes below them, and wait until they are gone."""
        for family in self._families.values():
            family.close()

    def _family(self, environment: str) -> ZygoteFamily:
        family = self._families.get(environment)
        if family is None:
            for idle in [path for path, each in self._families.items() if path and not each.busy]:
                self._families.pop(idle).close()
            family = ZygoteFamily(self._tasks, partial(self._spawn, environment), None)
            family.set_deadline(self._until_ns)
            self._families[environment] = family
        return family
