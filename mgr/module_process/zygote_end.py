"""The worker's end of a zygote process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from typing import Final

ZYGOTE_NAME: Final = b"mgr-zygote"
MODULE_NAME: Final = b"mgr-module"
"""What ``ps`` and ``top`` show: these processes have the command line of the worker."""
WAIT_S: Final = 2.0
"""How long a zygote may take to end once its control socket is closed."""


class ZygoteEnd:
    """The worker's end of a zygote: the control socket, and the process to reap."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        """Own ``control``; ``pid`` is a child of this process."""
        self.control = control
        self.pid = pid

    def reap(self) -> None:
        """Collect the exit status if it has ended."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def close(self) -> None:
        """End the zygote and all processes below it, and wait until they are gone."""
        self.control.close()
        fd = os.pidfd_open(self.pid)
        try:
            if not select.select([fd], [], [], WAIT_S)[0]:
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ChildProcessError, ProcessLookupError):
            return
        finally:
            os.close(fd)
