"""A worker's process from its first moment, before its guard is able to speak to it.

Small on purpose: a manager starts its first worker before it imports the rest of the guard.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

REAPER: Final = str(Path(__file__).with_name("reaper.py"))
"""Run as a file and without ``site``: it is there in hundredths of a second."""
TERMINATE_S: Final = 5.0
"""How long a reaper may take to end a worker that nobody waits for."""


class SpawnedWorker(NamedTuple):
    """The parent of a worker, and our ends of two sockets.

    Attributes:
        reaper: The process between guard and worker (``mgr.guard.reaper``).
        control: To the reaper, one packet a message.
        link: To the worker, which waits to be told with what to begin.

    """

    reaper: subprocess.Popen[bytes]
    control: socket.socket
    link: socket.socket

    def terminate(self) -> None:
        """End the worker and its reaper: nobody will tell it anything."""
        self.control.close()
        self.link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.reaper.wait(TERMINATE_S)
        self.reaper.kill()
        self.reaper.wait()


def spawn(command: Sequence[str]) -> SpawnedWorker:
    """Start ``command`` with ``--link-fd N``, below a reaper of its own.

    Raises:
        OSError: It could not be started.

    """
    ours, theirs = socket.socketpair()
    control, far_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        number = far_control.fileno()
        reaper = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-I", "-S", REAPER, str(number)),
                *(*command, "--link-fd", str(theirs.fileno())),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), number),
            process_group=0,
        )
    except BaseException:
        ours.close()
        control.close()
        raise
    finally:
        theirs.close()
        far_control.close()
    return SpawnedWorker(reaper, control, ours)
