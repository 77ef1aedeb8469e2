"""What a module uses, as ``mgr module top`` shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleUsage:
    """What one module uses; None where that is not known.

    Attributes:
        isolation: ``process`` or ``thread``.
        state: The phase of its lifecycle.
        pid: The process it runs in.
        cpu_percent: Share of one processor since the last measurement.
        resident_bytes: Resident memory of its process.
        proportional_bytes: The same with shared pages divided among those that share them.
        threads: The number of its threads.
        open_files: The number of open files of its process.
        waiting: Commands that wait for its thread.
        commands_per_s: Commands that ended, since the last measurement.
        p99_ms: The time of its latest commands from their arrival at the module to their end.
        interpreter_wait_ms: How long a thread there waits for the interpreter, on average.
        restarts: How often its process has ended unasked, or it has raised.

    """

    module: str
    isolation: str
    state: str
    pid: int
    cpu_percent: float | None
    resident_bytes: int | None
    proportional_bytes: int | None
    threads: int | None
    open_files: int | None
    waiting: int
    commands_per_s: float
    p99_ms: float | None
    interpreter_wait_ms: float | None
    restarts: int


MeasureUsage = Callable[[str], Awaitable[Sequence[ModuleUsage]]]
"""Measures every running module; rates are since the last measurement of the same session."""
