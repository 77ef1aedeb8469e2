"""Runs modules of the active in processes of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from mgr.active.modules.process_host import ActiveHostSide
from mgr.active.modules.usage import Modules, UsageMeter
from mgr.active.term_parts import TermParts
from mgr.cluster.counter_memory import CounterMemory
from mgr.cluster.fleet import Fleet
from mgr.command.module_usage import MeasureUsage
from mgr.host.execution import OnDied
from mgr.host.finder import DiscoveredModule
from mgr.host.limits import Limits
from mgr.host.worker_context import WorkerContext
from mgr.module_process.execution import ProcessExecution
from mgr.module_process.load_order import LoadOrder
from mgr.module_process.process import ModuleProcess
from mgr.module_process.zygote_link import ZygoteError

log = logging.getLogger(__name__)


class DeadlineGate(Protocol):
    """The part of the gate that a process sees: when it closes by itself."""

    @property
    def deadline_s(self) -> float:
        """The moment on the clock; no command begins after it."""
        ...

    def term_valid(self) -> bool:
        """Whether that moment has not come."""
        ...

    async def wait_changed(self) -> None:
        """Wait until the deadline or anything else of the gate has changed."""
        ...

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when the deadline or anything else of the gate has changed."""
        ...


class IsolatedModules:
    """The processes of one term. Use it on the loop."""

    def __init__(
        self,
        manager: WorkerContext,
        gate: DeadlineGate,
        tasks: asyncio.TaskGroup,
        *,
        http_address: str,
        limits: Limits,
    ) -> None:
        """Let commands begin in the processes while ``gate`` is open."""
        self._manager = manager
        self._gate = gate
        self._tasks = tasks
        self._http_address = http_address
        self._limits = limits
        self._parts: TermParts | None = None
        self._follows = False
        self._processes: dict[str, ModuleProcess] = {}
        self._counters: CounterMemory | None = None

    def begin(self, parts: TermParts) -> None:
        """Serve modules in the term of ``parts``."""
        self._parts = parts

    async def can_time(self) -> bool:
        """Return whether processes can be started that the kernel ends at the deadline."""
        starter = self._manager.processes
        if starter is None:
            return False
        self._follow_gate()
        try:
            return await starter.can_time()
        except ZygoteError as error:
            log.warning("no process with a deadline", extra={"error": str(error)})
            return False

    def execution(
        self, found: DiscoveredModule, on_died: OnDied, *, timed: bool
    ) -> ProcessExecution:
        """Make the execution of one instance; ``timed``: its process ends with the term."""
        if self._parts is None:
            raise AssertionError("begin() comes first")
        settings = self._manager.settings
        order = LoadOrder(settings.log_level, settings.log_format, settings.id)
        return ProcessExecution(
            found.name,
            start=partial(self._start, found, timed=timed),
            order=order.of(found.location),
            host=ActiveHostSide(
                self._parts, found, self._http_address, self._counter_memory(self._parts.fleet)
            ),
            standby=False,
            on_died=on_died,
            limits=self._limits,
            command_calls=self._parts.modules.command_calls,
            clock=self._manager.clock,
            tasks=self._tasks,
        )

    def _counter_memory(self, fleet: Fleet) -> CounterMemory:
        """Return the memory of this term. It has no counters until a module reads some."""
        if self._counters is None:
            self._counters = CounterMemory()
            fleet.on_declared = self._counters.on_declared
        return self._counters

    def usage(self, modules: Modules) -> MeasureUsage:
        """Return what measures the processes, and the other ones of ``modules``."""
        return UsageMeter(modules, self.processes, self._manager.clock).measure

    def processes(self) -> Mapping[str, ModuleProcess]:
        """Return the living processes by module."""
        return {name: each for name, each in self._processes.items() if not each.ended.done()}

    async def _start(self, found: DiscoveredModule, *, timed: bool) -> ModuleProcess:
        starter = self._manager.processes
        if starter is None:
            raise ZygoteError("this manager starts no processes for modules")
        self._follow_gate()
        # Suspended: it would be killed before it has begun.
        while timed and not self._gate.term_valid():
            await self._gate.wait_changed()
        process: ModuleProcess
        process = await starter.start(found.name, place=found.place, timed=timed)
        process.open_gate(self._gate.deadline_s)
        self._processes[found.name] = process
        return process

    def _follow_gate(self) -> None:
        # Not before the first process: a role may be made and dropped without any effect.
        if not self._follows:
            self._follows = True
            self._gate.subscribe(self._on_gate_changed)
            self._on_gate_changed()

    def _on_gate_changed(self) -> None:
        for process in self.processes().values():
            process.open_gate(self._gate.deadline_s)
        if self._manager.processes is not None:
            self._manager.processes.set_deadline(self._gate.deadline_s)
