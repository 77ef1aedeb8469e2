"""Enforces the limits of modules that have processes of their own, and reports when they bite.

Where cgroup v2 may be used the kernel enforces memory, processes and the share of the processor
for the module's process with all that it starts. Elsewhere the kernel limits the address space of
the process itself, and twice a second this measures all of it and kills what is above its limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from mgr.clock import Clock
from mgr.config.module_limits import (
    COMMAND_MAX,
    CPU_WEIGHT,
    CPU_WEIGHT_DEFAULT,
    MEMORY_MAX,
    NO_LIMITS,
    OPEN_FILES_MAX,
    PROCESSES_MAX,
    ModuleLimits,
    limits_of,
)
from mgr.host.process_usage import (
    address_space,
    anonymous_bytes,
    proportional_anonymous_bytes,
    thread_count,
    tree_of,
)
from mgr.module_process.cgroup import NO_EVENTS, GroupEvents, ModuleGroup, ModuleGroups
from mgr.module_process.process import ModuleProcess

CHECK_EVERY_S: Final = 0.5
SHOWN_S: Final = 600.0
"""How long health names a limit after it was reached last."""
WEIGHT_PER_NICE: Final = 1.25
"""The kernel gives a process this many times the time of one whose nice value is one higher."""
OPTIONS: Final = frozenset({MEMORY_MAX, OPEN_FILES_MAX, PROCESSES_MAX, CPU_WEIGHT, COMMAND_MAX})

log = logging.getLogger(__name__)


class LimitKind(Enum):
    """What is limited; the value is the health code's end."""

    MEMORY = "MEMORY"
    OPEN_FILES = "OPEN_FILES"
    PROCESSES = "PROCESSES"
    COMMAND_TIME = "COMMAND_TIME"


@dataclass(frozen=True, slots=True)
class ReachedLimit:
    """A limit that was reached.

    Attributes:
        text: What happened, as the end of a sentence that begins with the module.

    """

    module: str
    kind: LimitKind
    text: str


@dataclass(slots=True)
class _Watched:
    process: ModuleProcess
    limits: ModuleLimits
    group: ModuleGroup | None
    events: GroupEvents = NO_EVENTS
    hits: tuple[int, int] = (0, 0)

    def enforces(self, controller: str) -> bool:
        """Whether the kernel enforces what ``controller`` limits."""
        return self.group is not None and controller in self.group.controllers


class LimitWatch:
    """The limits of every module process of this worker. Use it on the loop."""

    def __init__(
        self,
        option: Callable[[str], object],
        clock: Clock,
        find_groups: Callable[[], ModuleGroups | None] = lambda: None,
    ) -> None:
        """Read the limits from ``option``. ``find_groups`` is called when a limit is first set."""
        self._option = option
        self._clock = clock
        self._find_groups: Callable[[], ModuleGroups | None] | None = find_groups
        self._groups: ModuleGroups | None = None
        self._watched: dict[int, _Watched] = {}
        self._reached: dict[tuple[str, LimitKind], tuple[str, float]] = {}

    def begin(self, process: ModuleProcess) -> None:
        """Enforce the limits of its module. Call it before the module's code runs there."""
        limits = limits_of(process.module, self._option)
        group = None if limits == NO_LIMITS else self._group_for(process)
        watched = self._watched[process.pid] = _Watched(process, NO_LIMITS, group)
        self._apply(watched, limits)
        process.explain_end = lambda: self._on_end(watched)

    def reapply(self, changed: frozenset[str]) -> None:
        """Enforce changed options on the processes that run."""
        if not changed & OPTIONS:
            return
        for watched in list(self._watched.values()):
            limits = limits_of(watched.process.module, self._option)
            if limits != watched.limits and watched.group is None:
                watched.group = self._group_for(watched.process)
            self._apply(watched, limits)

    def reached(self) -> tuple[ReachedLimit, ...]:
        """Return the limits that were reached in the last ten minutes."""
        since_s = self._clock.now() - SHOWN_S
        self._reached = {key: at for key, at in self._reached.items() if at[1] >= since_s}
        return tuple(
            ReachedLimit(module, kind, text) for (module, kind), (text, _) in self._reached.items()
        )

    async def run(self) -> None:
        """Measure and enforce, for as long as the worker lives."""
        while True:
            for watched in list(self._watched.values()):
                if not watched.process.ended.done():
                    self._check(watched)
            await asyncio.sleep(CHECK_EVERY_S)

    # -- inside ---------------------------------------------------------------------------------

    def _group_for(self, process: ModuleProcess) -> ModuleGroup | None:
        if self._find_groups is not None:
            self._groups, self._find_groups = self._find_groups(), None
        if self._groups is None:
            return None
        try:
            return self._groups.make(process.module, process.pid)
        except OSError as error:
            fields = {"module_name": process.module, "error": str(error)}
            log.warning("no cgroup for the process of a module", extra=fields)
            return None

    def _apply(self, watched: _Watched, limits: ModuleLimits) -> None:
        before, watched.limits = watched.limits, limits
        if limits == before:
            return
        pid = watched.process.pid
        try:
            if watched.group is not None:
                watched.group.set_limits(limits)
            if limits.memory_bytes != before.memory_bytes and not watched.enforces("memory"):
                most = limits.memory_bytes and limits.memory_bytes + address_space(pid)
                _limit(pid, resource.RLIMIT_AS, most)
            if limits.open_files != before.open_files:
                _limit(pid, resource.RLIMIT_NOFILE, limits.open_files)
            if limits.cpu_weight != before.cpu_weight and not watched.enforces("cpu"):
                own = os.getpriority(os.PRIO_PROCESS, 0)
                _be_nice(pid, nice_of(limits.cpu_weight, own))
        except ProcessLookupError:
            return  # it has ended
        except (OSError, ValueError) as error:
            fields = {"module_name": watched.process.module, "error": str(error)}
            log.warning("a limit of a module takes effect at its next start", extra=fields)

    def _check(self, watched: _Watched) -> None:
        process, limits = watched.process, watched.limits
        self._check_hits(watched)
        command = process.command
        if command and limits.command_s and self._clock.now() - command[1] > limits.command_s:
            text = f"'{command[0]}' ran for more than {limits.command_s:g} s ({COMMAND_MAX})"
            self._kill(watched, LimitKind.COMMAND_TIME, text)
            return
        by_memory = limits.memory_bytes and not watched.enforces("memory")
        by_processes = limits.processes and not watched.enforces("pids")
        if not by_memory and not by_processes:
            return
        tree = tree_of(process.pid)
        if by_processes and sum(map(thread_count, tree)) > limits.processes:
            self._kill(watched, LimitKind.PROCESSES, _processes_text(limits))
        elif by_memory and _above(limits.memory_bytes, tree):
            self._kill(watched, LimitKind.MEMORY, _memory_text(limits))

    def _check_hits(self, watched: _Watched) -> None:
        """Look what the kernel refused since the last time."""
        limits, module = watched.limits, watched.process.module
        hits, before = watched.process.limit_hits(), watched.hits
        watched.hits = hits
        if hits[0] > before[0] and limits.memory_bytes:
            self._note(module, LimitKind.MEMORY, f"was refused memory: {_memory_text(limits)}")
        if hits[1] > before[1] and limits.open_files:
            text = f"was refused a file: {limits.open_files} are open ({OPEN_FILES_MAX})"
            self._note(module, LimitKind.OPEN_FILES, text)
        if watched.group is not None:
            events, seen = watched.group.events(), watched.events
            watched.events = events
            if events.refused_processes > seen.refused_processes and limits.processes:
                text = f"was refused a process or thread: {_processes_text(limits)}"
                self._note(module, LimitKind.PROCESSES, text)
            if events.oom_kills > seen.oom_kills:
                text = f"had a process killed: {_memory_text(limits)}"
                self._note(module, LimitKind.MEMORY, text)

    def _on_end(self, watched: _Watched) -> str:
        """Take in the end of a process; return the limit that killed it, if one did."""
        self._watched.pop(watched.process.pid, None)
        why = watched.process.killed_by_limit
        if not why:
            before = watched.events.oom_kills
            self._check_hits(watched)
            if watched.events.oom_kills > before:
                why = _memory_text(watched.limits)
        if watched.group is not None:
            watched.group.remove()
        return why

    def _kill(self, watched: _Watched, kind: LimitKind, text: str) -> None:
        if watched.process.killed_by_limit:
            return
        fields = {"module_name": watched.process.module, "limit": text}
        log.error("the process of a module is above its limit: killed", extra=fields)
        self._note(watched.process.module, kind, f"was killed: {text}")
        watched.process.kill_by_limit(text)

    def _note(self, module: str, kind: LimitKind, text: str) -> None:
        self._reached[module, kind] = text, self._clock.now()


def _above(most: int, tree: list[int]) -> bool:
    """Whether processes have more memory of their own; what they share counts once."""
    # The exact number makes the kernel walk through all of it: only when there is reason to.
    return (
        sum(map(anonymous_bytes, tree)) > most
        and sum(map(proportional_anonymous_bytes, tree)) > most
    )


def nice_of(weight: int, own: int) -> int:
    """Return the nice value that gives a process ``weight`` beside 100 of this one.

    ``own`` is the nice value of this one, which every module has without a limit.
    """
    steps = math.log(CPU_WEIGHT_DEFAULT / weight, WEIGHT_PER_NICE)
    return min(19, max(-20, own + round(steps)))


def size_text(size: int) -> str:
    """Return a size for people: ``512 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size == int(size) else f"{size:.1f} {unit}"
        size /= 1024  # type: ignore[assignment]
    return f"{size:.1f} TiB"


def _memory_text(limits: ModuleLimits) -> str:
    return f"its limit of memory is {size_text(limits.memory_bytes)} ({MEMORY_MAX})"


def _processes_text(limits: ModuleLimits) -> str:
    return f"its limit is {limits.processes} processes and threads ({PROCESSES_MAX})"


def _limit(pid: int, which: int, most: int) -> None:
    """Set the soft limit of a process, which can be raised again; without ``most`` the hard one."""
    _, hard = resource.prlimit(pid, which)
    value = most if most and (hard == resource.RLIM_INFINITY or most < hard) else hard
    resource.prlimit(pid, which, (value, hard))


def _be_nice(pid: int, nice: int) -> None:
    """Set the nice value of every thread of a process."""
    with contextlib.suppress(FileNotFoundError):
        for thread in list(Path(f"/proc/{pid}/task").iterdir()):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
