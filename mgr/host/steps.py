"""Records which module is called for what, in memory that outlives this process.

The guard reads it if the worker dies by a signal (``mgr.worker_trace`` has the layout). A step
costs about two microseconds, so each one is recorded *before* module code runs.
"""

from __future__ import annotations

import faulthandler
import itertools
import mmap
import os
from collections.abc import Callable
from typing import Final, TypeVar

from mgr.host.bridge import thread_ids
from mgr.worker_trace import HEADER_BYTES, OWN_EXIT, SIZE, STEP, STEPS_MAX, StepKind

T = TypeVar("T")

_FREE: Final = bytes(STEP.size)


class StepTable:
    """The table of steps in progress. Any thread may call it."""

    def __init__(self, memory: mmap.mmap | bytearray) -> None:
        """Write into ``memory``."""
        self._memory: mmap.mmap | bytearray | None = memory
        self._numbers = itertools.count(1)
        # ``pop`` and ``append`` of a list are atomic, so no lock is needed that a dying thread
        # could hold.
        self._free = [HEADER_BYTES + index * STEP.size for index in range(STEPS_MAX)]

    def begin(self, kind: StepKind, module: str, detail: str = "") -> int | None:
        """Record that ``module`` is asked ``kind`` on this thread; None if there is no room."""
        memory = self._memory
        if memory is None:
            return None
        try:
            place = self._free.pop()
        except IndexError:
            return None
        number, (thread, native_id) = next(self._numbers), thread_ids()
        fields = (number, thread, native_id, kind, module.encode()[:63], detail.encode()[:40])
        STEP.pack_into(memory, place, *fields)
        return place

    def end(self, place: int | None) -> None:
        """Record that the step that ``begin`` recorded is over."""
        if place is not None and self._memory is not None:
            self._memory[place : place + STEP.size] = _FREE
            self._free.append(place)

    def record_exit(self) -> None:
        """Record that this process exits because it decided to."""
        if self._memory is not None:
            self._memory[: len(OWN_EXIT)] = OWN_EXIT

    def detach(self) -> None:
        """Write nothing any more: this is a child process, whose steps do not concern the guard."""
        self._memory = None


_tables: Final[list[StepTable]] = []
"""The table of this process; empty where nobody reads one, as in most tests."""


def open_table(fd: int) -> None:
    """Record steps, and the stacks at a fatal signal, in the memory behind ``fd``; call it once."""
    table = StepTable(mmap.mmap(fd, SIZE))
    _tables.append(table)
    os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no name
    faulthandler.enable(file=fd, all_threads=True)

    def detach_child() -> None:
        table.detach()
        faulthandler.disable()

    # A module may fork. What its child does, or dies of, is not what this worker died of.
    os.register_at_fork(after_in_child=detach_child)


def record_exit() -> None:
    """Record that this process exits because it decided to."""
    for table in _tables:
        table.record_exit()


class record:  # noqa: N801 - used like a function
    """Record that ``module`` is asked ``kind``, for as long as the block runs."""

    __slots__ = ("_detail", "_kind", "_module", "_place", "_table")

    def __init__(self, kind: StepKind, module: str, detail: str = "") -> None:
        self._table = _tables[0] if _tables else None
        self._kind = kind
        self._module = module
        self._detail = detail

    def __enter__(self) -> None:
        if self._table is not None:
            self._place = self._table.begin(self._kind, self._module, self._detail)

    def __exit__(self, *_: object) -> None:
        if self._table is not None:
            self._table.end(self._place)


def recorded(kind: StepKind, module: str, call: Callable[[], T]) -> Callable[[], T]:
    """``call``, recorded as a step for as long as it runs."""

    def recorded_call() -> T:
        with record(kind, module):
            return call()

    return recorded_call
