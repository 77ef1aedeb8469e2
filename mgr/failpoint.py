"""Places where a test stops or kills a process exactly between two of its instructions.

Nothing happens unless ``MGR_FAILPOINTS`` names a directory. Then a process that reaches a point
looks there for a file of the point's name, takes it away, and sends itself the signal that is
written in it (``SIGSTOP``, ``SIGKILL``, ...). One file is one hit, whoever comes first.
"""

from __future__ import annotations

import contextlib
import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import Final

VARIABLE: Final = "MGR_FAILPOINTS"
_DIRECTORY: Final = os.environ.get(VARIABLE, "")


class Point(StrEnum):
    """Every such place."""

    WRITE = "write"
    """The worker: a write of its term is composed and checked, and not yet sent."""
    COMMAND = "command"
    """The worker: the gate was found open for a command, and its module not yet called."""
    LEADER_HEARTBEAT = "leader_heartbeat"
    """The guard: the moment from which a pulse counts is noted, and the pulse not yet sent."""
    WON = "won"
    """The guard: the leader key is its own, and nobody was told yet."""
    RELEASE = "release"
    """The guard: its worker is gone or quiet, and the leader key not yet given back."""


def reach(point: Point) -> None:
    """Pass ``point``. May never return, or much later."""
    if _DIRECTORY:
        _take(Path(_DIRECTORY) / point)


def _take(file: Path) -> None:
    taken = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        file.rename(taken)
        name = taken.read_text(encoding="ascii").strip()
        taken.unlink()
        os.kill(os.getpid(), signal.Signals[name])
