"""What the kernel tells of the processes of a module: which there are, and what they use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PROCESSES_MAX: Final = 10_000
"""More are not counted: a module that starts processes in a loop must not occupy the worker."""
RESIDENT_AND_SHARED: Final = 3
"""Fields of ``/proc/<pid>/statm`` up to these two."""
_USER_TICKS: Final = 11
_SYSTEM_TICKS: Final = 12
_THREADS: Final = 17
"""Where ``/proc/<pid>/stat`` has them, counted from behind the name."""


def tree_of(root: int) -> list[int]:
    """Return a process and all below it."""
    found, level = [root], [root]
    while level and len(found) < PROCESSES_MAX:
        level = [child for parent in level for child in _children(parent)]
        found += level
    return found


def anonymous_bytes(pid: int) -> int:
    """Return the anonymous memory of a process, in bytes; 0 once it has ended."""
    fields = _read(f"/proc/{pid}/statm").split()
    return (
        (int(fields[1]) - int(fields[2])) * PAGE_BYTES if len(fields) >= RESIDENT_AND_SHARED else 0
    )


def proportional_anonymous_bytes(pid: int) -> int:
    """Return the same with shared pages divided among those that share them. Takes longer."""
    found = _rollup(pid)
    return found.get("Pss_Anon", found.get("Pss", 0))


def address_space(pid: int) -> int:
    """Return the size of its address space, in bytes."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[0]) * PAGE_BYTES if fields else 0


def thread_count(pid: int) -> int:
    """Return the number of its threads; 0 once it has ended."""
    fields = _stat(f"/proc/{pid}/stat")
    return int(fields[_THREADS]) if fields else 0


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What one process or thread uses.

    Attributes:
        cpu_s: Seconds of the processor since its start.
        resident_bytes: Resident memory, shared pages included.
        proportional_bytes: The same with each shared page divided among those that share it; None
            if this process may not read it.
        threads: The number of its threads.
        open_files: The number of its open files; None if this process may not read it.

    """

    cpu_s: float
    resident_bytes: int
    proportional_bytes: int | None
    threads: int
    open_files: int | None


class QuickUsage(NamedTuple):
    """What ``ProcessUsage`` has that the kernel need not walk through memory for."""

    cpu_s: float
    resident_bytes: int
    threads: int


def quick_usage_of(pid: int) -> QuickUsage | None:
    """Return what a process uses, as far as that is known at once; None once it has ended."""
    fields, memory = _stat(f"/proc/{pid}/stat"), _read(f"/proc/{pid}/statm").split()
    if not fields or not memory:
        return None
    return QuickUsage(_cpu_s(fields), int(memory[1]) * PAGE_BYTES, int(fields[_THREADS]))


def usage_of(pid: int) -> ProcessUsage | None:
    """Return what a process uses; None once it has ended."""
    quick = quick_usage_of(pid)
    if quick is None:
        return None
    open_files = None
    with contextlib.suppress(OSError):
        open_files = len(os.listdir(f"/proc/{pid}/fd"))
    return ProcessUsage(
        cpu_s=quick.cpu_s,
        resident_bytes=quick.resident_bytes,
        proportional_bytes=_rollup(pid).get("Pss"),
        threads=quick.threads,
        open_files=open_files,
    )


def cpu_s_of_thread(native_id: int) -> float | None:
    """Return the processor seconds of a thread of this process; None once it has ended."""
    fields = _stat(f"/proc/self/task/{native_id}/stat")
    return _cpu_s(fields) if fields else None


def cpu_s_of_threads(native_ids: Iterable[int]) -> float:
    """Return the same of several threads together."""
    return sum(cpu_s_of_thread(each) or 0.0 for each in native_ids)


def _cpu_s(fields: list[str]) -> float:
    return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / TICKS_PER_S


def _rollup(pid: int) -> dict[str, int]:
    """Return what the kernel sums up over all the memory of a process, in bytes."""
    lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]
    return {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (x.partition(":") for x in lines)
    }


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [
        int(child)
        for thread in threads
        for child in _read(f"/proc/{pid}/task/{thread}/children").split()
    ]


def _stat(path: str) -> list[str]:
    """Return the fields behind the name; none once it has ended."""
    return _read(path).rpartition(")")[2].split()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
