"""Starts the zygote: by a fork while the worker is still single-threaded, or as a new program."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import Final

from mgr.module_process.zygote_end import ZYGOTE_NAME, ZygoteEnd

ENVIRONMENT: Final = "_MGR_LIBRARIES"
"""Names, in the processes of a module with libraries of its own, their folder."""
_PR_SET_NAME: Final = 15
_PR_SET_PDEATHSIG: Final = 1


def fork_zygote() -> ZygoteEnd:
    """Fork a zygote. Call it first thing, before this process has any other thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = os.getpid()
    if pid := os.fork():
        theirs.close()
        return ZygoteEnd(ours, pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NAME, ZYGOTE_NAME)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == worker:
            from mgr.module_process.zygote import keep_only, serve  # noqa: PLC0415 - not in the worker

            keep_only([theirs.fileno()])
            serve(theirs)
    finally:
        os._exit(1)


def spawn_zygote(environment: str = "") -> ZygoteEnd:
    """Start a zygote as a new program, which takes longer than a fork.

    It finds the packages in the folder ``environment`` before all others.

    Raises:
        OSError: It could not be started.

    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = theirs.fileno()
    path = os.pathsep.join(filter(None, (environment, *sys.path)))
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "mgr.module_process", str(number)],
            {**os.environ, "PYTHONPATH": path, ENVIRONMENT: environment},
            file_actions=[(os.POSIX_SPAWN_DUP2, number, number)],
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ZygoteEnd(ours, pid)
