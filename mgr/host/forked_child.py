"""Ends a child process that a module forked and that came back from the module's code.

A module that calls ``os.fork`` should end the child itself. A child that returns from the import or
the handler instead would go on as a second manager, or as a second process of the module: with its
connections, and with answers of its own on them.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

_exit: Final = os._exit
"""As it was before modules were imported, some of which replace it."""


def end_if_forked(pid: int, module: str) -> None:
    """End this process if it is not ``pid``, the one that called code of ``module``."""
    if os.getpid() == pid:
        return
    with contextlib.suppress(OSError):
        # Not through the log, whose thread is in the parent.
        text = f"module {module!r}: a child that it forked returned from its code and was ended"
        os.write(2, f"{text}: end it by os._exit (pid={os.getpid()} parent={pid})\n".encode())
    _exit(1)
