"""A worker's process from its first moment, before its guard is able to speak to it.

Small on purpose: a manager starts its first worker before it imports the rest of the guard.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from typing import NamedTuple


class Spawned(NamedTuple):
    """A process, and our end of the link to it. It waits to be told with what to begin."""

    process: subprocess.Popen[bytes]
    link: socket.socket

    def put_down(self) -> None:
        """Kill and reap it: nobody will tell it anything."""
        self.process.kill()
        self.process.wait()
        self.link.close()


def spawn(command: Sequence[str]) -> Spawned:
    """Start ``command`` with ``--link-fd N``, in a process group of its own. On the main thread.

    The parent-death signal of the worker follows the *thread* that started it, so that has to be
    one which lives as long as the guard.

    Raises:
        OSError: It could not be started.

    """
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*command, "--link-fd", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            process_group=0,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Spawned(process, ours)
