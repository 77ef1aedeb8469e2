"""Reaps processes that this one inherited: it is process 1 of a container, or a sub-reaper.

A worker's own reaper waits for everything below it. If that one is killed, or in a container
without an init, ended processes would stay as zombies of the guard.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from mgr.guard.reaper import children_of
from mgr.guard.spawn import started_reapers

REAP_EVERY_S: Final = 2.0


def reap_orphans() -> None:
    """Reap the ended children of this process, except the reapers that it waits for itself."""
    for pid in children_of({os.getpid()}) - started_reapers():
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue  # it has been waited for since


def keep_reaping() -> None:
    """Reap orphans now and every ``REAP_EVERY_S`` on the running event loop."""
    reap_orphans()
    asyncio.get_running_loop().call_later(REAP_EVERY_S, keep_reaping)
