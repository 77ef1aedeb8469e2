"""Start a worker process.

This module imports little on purpose: a manager starts its first worker before it imports the rest
of the guard.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mgr.worker_trace import WorkerTrace

REAPER: Final = str(Path(__file__).with_name("reaper.py"))
"""Run as a file and without ``site``, so that it starts in hundredths of a second."""
TERMINATE_S: Final = 5.0
"""How long a reaper may take to end a worker that was never used."""
_STARTED: Final[weakref.WeakValueDictionary[int, subprocess.Popen[bytes]]] = (
    weakref.WeakValueDictionary()
)


class SpawnedWorker(NamedTuple):
    """The reaper process of a worker, and the guard's ends of two sockets.

    Attributes:
        reaper: The process between guard and worker (``mgr.guard.reaper``).
        control: Socket to the reaper, one packet per message.
        link: Socket to the worker, which waits for the message ``Init``.
        trace: Memory in which the worker records what its modules do; None if there is none.

    """

    reaper: subprocess.Popen[bytes]
    control: socket.socket
    link: socket.socket
    trace: WorkerTrace | None = None

    def terminate(self) -> None:
        """End the worker and its reaper, which were not used."""
        self.control.close()
        self.link.close()
        if self.trace is not None:
            self.trace.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.reaper.wait(TERMINATE_S)
        self.reaper.kill()
        self.reaper.wait()


def spawn(command: Sequence[str]) -> SpawnedWorker:
    """Start ``command`` with ``--link-fd N --trace-fd N``, as a child of its own reaper.

    Raises:
        OSError: It could not be started.

    """
    try:
        trace = WorkerTrace()
    except OSError:
        trace = None
    ours, theirs = socket.socketpair()
    control, far_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        number = far_control.fileno()
        reaper = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-I", "-S", REAPER, str(number)),
                *(*command, "--link-fd", str(theirs.fileno())),
                *(() if trace is None else ("--trace-fd", str(trace.fd))),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), number, *(() if trace is None else (trace.fd,))),
            process_group=0,
        )
        _STARTED[reaper.pid] = reaper
    except BaseException:
        ours.close()
        control.close()
        if trace is not None:
            trace.close()
        raise
    finally:
        theirs.close()
        far_control.close()
    return SpawnedWorker(reaper, control, ours, trace)


def started_reapers() -> set[int]:
    """Return the process ids of the reapers that ``spawn`` started and that somebody waits for."""
    return set(_STARTED)
