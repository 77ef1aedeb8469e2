"""Failpoints: places where a test stops or kills a process between two instructions.

Nothing happens unless ``MGR_FAILPOINTS`` names a directory. Then a process that reaches a point
removes the file with the point's name from that directory, if there is one, and sends itself the
signal named in it (``SIGSTOP``, ``SIGKILL``, ...). One file causes one signal, in the first process
that reaches the point.
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
    """The failpoints."""

    WRITE = "write"
    """Worker: a write of its term is composed and checked, but not yet sent."""
    COMMAND = "command"
    """Worker: the gate was open for a command, but its module is not yet called."""
    LEADER_HEARTBEAT = "leader_heartbeat"
    """Guard: the send time of a leader heartbeat is taken, but the heartbeat is not yet sent."""
    WON = "won"
    """Guard: the leader key is acquired, but the event is not yet raised."""
    RELEASE = "release"
    """Guard: its worker has exited or drained, but the leader key is not yet released."""


def reach(point: Point) -> None:
    """Trigger ``point`` if a test requested it. May return much later, or never."""
    if _DIRECTORY:
        _take(Path(_DIRECTORY) / point)


def _take(file: Path) -> None:
    taken = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        file.rename(taken)
        name = taken.read_text(encoding="ascii").strip()
        taken.unlink()
        os.kill(os.getpid(), signal.Signals[name])
