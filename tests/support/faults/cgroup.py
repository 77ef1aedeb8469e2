"""Limits of the kernel for single processes: control groups, version 1."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path("/sys/fs/cgroup")
PROCESSES: Final = "cgroup.procs"


def unavailable(controller: str) -> str:
    """Why ``controller`` cannot be used here; empty if it can."""
    there = os.access(ROOT / controller / PROCESSES, os.W_OK)
    return "" if there else f"no {controller} control group of version 1 that may be written here"


class Group:
    """Use as a context manager: whoever is left in it when it ends is free again."""

    def __init__(self, controller: str, *pids: int, **limits: int) -> None:
        """Put ``pids`` under ``limits``, named as the kernel does with ``_`` for each dot."""
        self._root = ROOT / controller
        self._place = self._root / f"mgr-lab-{os.getpid()}"
        self._pids = pids
        self._limits = limits

    def __enter__(self) -> Self:
        self._place.mkdir(exist_ok=True)
        for pid in self._pids:
            (self._place / PROCESSES).write_text(str(pid))
        for name, limit in self._limits.items():
            (self._place / name.replace("_", ".", 1)).write_text(str(limit))
        return self

    def __exit__(self, *_: object) -> None:
        for pid in (self._place / PROCESSES).read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (self._root / PROCESSES).write_text(pid)
        self._place.rmdir()
