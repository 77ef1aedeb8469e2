"""Measures what the modules of the active use, for ``mgr module top``."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from mgr.clock import Clock
from mgr.command.module_usage import ModuleUsage
from mgr.host.bridge import run_in_thread, threads_of_modules
from mgr.host.command_calls import CommandCalls
from mgr.host.interpreter_wait import interpreter_wait_ms
from mgr.host.process_usage import ProcessUsage, cpu_s_of_threads, usage_of
from mgr.module_process.process import ModuleProcess

FIRST_S: Final = 0.5
"""How long the first measurement of a session takes: rates need two."""
SESSIONS_MAX: Final = 32
"""Sessions whose last measurement is kept."""
PROBE_S: Final = 1.0
"""How long a process may take to measure itself; one that is busy does not answer."""


class Modules(Protocol):
    """The running modules."""

    @property
    def command_calls(self) -> CommandCalls:
        """Their commands."""
        ...

    def phases(self) -> Mapping[str, tuple[str, int]]:
        """Return the phase of each, and how often it was restarted."""
        ...


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    commands: int
    cpu_s: float


class UsageMeter:
    """Measures modules in threads and in processes. Use it on the loop."""

    def __init__(
        self,
        modules: Modules,
        processes: Callable[[], Mapping[str, ModuleProcess]],
        clock: Clock,
    ) -> None:
        """Measure ``modules``; ``processes`` returns those that have a process of their own."""
        self._modules = modules
        self._processes = processes
        self._clock = clock
        self._before: OrderedDict[str, Mapping[str, _Sample]] = OrderedDict()

    async def measure(self, session: str) -> list[ModuleUsage]:
        """Return what each module uses; rates are since the last call of this ``session``."""
        before = self._before.get(session) if session else None
        if before is None:
            before, _ = await self._sample()
            await asyncio.sleep(FIRST_S)
        waits = await self._interpreter_waits()
        samples, used = await self._sample()
        if session:
            self._before[session] = samples
            self._before.move_to_end(session)
            while len(self._before) > SESSIONS_MAX:
                self._before.popitem(last=False)
        processes = self._processes()
        return [
            self._usage(name, samples[name], before.get(name), used.get(name), processes, waits)
            for name in samples
        ]

    def _usage(
        self,
        name: str,
        now: _Sample,
        before: _Sample | None,
        used: ProcessUsage | None,
        processes: Mapping[str, ModuleProcess],
        waits: Mapping[str, float | None],
    ) -> ModuleUsage:
        state, restarts = self._modules.phases().get(name, ("", 0))
        process, threads = processes.get(name), _threads().get(name, [])
        calls = self._modules.command_calls
        elapsed_s = now.at_s - before.at_s if before else 0.0
        # Less than before: it is another process now.
        rates = before is not None and elapsed_s > 0 and now.cpu_s >= before.cpu_s
        return ModuleUsage(
            module=name,
            isolation="thread" if process is None else "process",
            state=state,
            pid=os.getpid() if process is None else process.pid,
            cpu_percent=(
                100 * (now.cpu_s - before.cpu_s) / elapsed_s if before and rates else None
            ),
            resident_bytes=used.resident_bytes if used else None,
            proportional_bytes=used.proportional_bytes if used else None,
            threads=used.threads if used else len(threads),
            open_files=used.open_files if used else None,
            waiting=sum(each.module == name and each.begun_s is None for each in calls.all()),
            commands_per_s=(
                (now.commands - before.commands) / elapsed_s if before and elapsed_s > 0 else 0.0
            ),
            p99_ms=calls.p99_ms(name),
            interpreter_wait_ms=waits.get(name) if process else waits.get(""),
            restarts=restarts,
        )

    async def _sample(self) -> tuple[dict[str, _Sample], dict[str, ProcessUsage]]:
        pids = {name: each.pid for name, each in self._processes().items()}
        # On another thread: the kernel walks through all the memory of a process.
        used = await run_in_thread("module-top", partial(_used, pids))
        threads, now_s = _threads(), self._clock.now()
        calls = self._modules.command_calls
        samples = {}
        for name in sorted(self._modules.phases()):
            found = used.get(name)
            cpu_s = found.cpu_s if found else cpu_s_of_threads(threads.get(name, ()))
            samples[name] = _Sample(now_s, calls.ended(name), cpu_s)
        return samples, used

    async def _interpreter_waits(self) -> dict[str, float | None]:
        """Measure how long threads wait for the interpreter: of each process, "" is this one's."""

        async def probe(process: ModuleProcess) -> float | None:
            _, answer = process.call("interpreter_wait")
            answer.add_done_callback(_retrieve)
            done, _ = await asyncio.wait({answer}, timeout=PROBE_S)
            return None if not done or answer.exception() else float(answer.result())

        async with asyncio.TaskGroup() as tasks:
            own = tasks.create_task(_own_wait())
            probes = {
                name: tasks.create_task(probe(each)) for name, each in self._processes().items()
            }
        return {"": own.result(), **{name: each.result() for name, each in probes.items()}}


def _threads() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for module, native_id in threads_of_modules():
        found.setdefault(module, []).append(native_id)
    return found


async def _own_wait() -> float:
    return await run_in_thread("module-top", interpreter_wait_ms)


def _used(pids: Mapping[str, int]) -> dict[str, ProcessUsage]:
    found = {name: usage_of(pid) for name, pid in pids.items()}
    return {name: used for name, used in found.items() if used is not None}


def _retrieve(future: asyncio.Future[float]) -> None:
    if not future.cancelled():
        future.exception()
