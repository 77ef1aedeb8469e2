"""Pin processes to cores and read their CPU time.

The measured process has a core of its own, so that the load generator does not disturb it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_ALLOWED: Final = sorted(os.sched_getaffinity(0))
SERVER: Final = _ALLOWED[0]
"""The core of the measured process, which it has alone."""
OTHERS: Final = _ALLOWED[1] if len(_ALLOWED) > 1 else SERVER
"""The core of everything else."""
SPLIT: Final = (
    f"split: what is measured runs on core {SERVER}, clients, etcd and the rest on core {OTHERS}"
)


def pin(core: int, pids: Iterable[int]) -> None:
    """Pin these processes, with their present and future threads, to ``core``."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(thread.name), {core})


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used, to the microsecond."""
    # What clock_getcpuclockid() computes, which Python does not offer; see its manual page.
    return time.clock_gettime(~pid << 3 | 2)
