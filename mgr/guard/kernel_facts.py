"""Reads what the kernel knows of a worker: processor time of its threads, lack of memory."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

_OOM_KILLS: Final = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_UTIME: Final = 11
"""Where ``/proc/<pid>/stat`` has the time in user mode, counted from behind the name."""
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def thread_times(pid: int) -> dict[int, int]:
    """Return each thread's time on a processor, in nanoseconds; none if process ``pid`` is gone."""
    found: dict[int, int] = {}
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError, ValueError, IndexError):
            found[int(thread.name)] = _thread_time(thread)
    return found


def _thread_time(thread: Path) -> int:
    # Finer than the ticks of ``stat``, and not in every kernel.
    with contextlib.suppress(OSError):
        return int((thread / "schedstat").read_bytes().split()[0])
    fields = (thread / "stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_UTIME + 1])) * _TICK_NS


def times_since(before: dict[int, int], now: dict[int, int]) -> dict[int, int]:
    """Return how much time each thread used between two calls of ``thread_times``."""
    return {thread: used - before.get(thread, 0) for thread, used in now.items()}


def oom_kills() -> int:
    """Return how many processes of this host were killed for want of memory; 0 if it is secret."""
    try:
        found = _OOM_KILLS.search(Path("/proc/vmstat").read_bytes())
    except OSError:
        return 0
    return int(found[1]) if found is not None else 0
