"""Keep the cores awake while something is measured, as a host with work to do keeps them.

A core with nothing to do halts, and on a virtual machine it takes 50 to 100 us until it runs
again. A command on an idle machine waits for that several times. Here a process on each core
computes whenever nobody else wants to: the kernel stops it at once when somebody does
(``SCHED_IDLE``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

NOTE: Final = "the cores were kept awake: no figure contains the time in which a halted one wakes"
SPIN: Final = """
import os, sys
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.sched_setaffinity(0, {int(sys.argv[1])})
while os.getppid() == int(sys.argv[2]):
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def awake() -> Iterator[None]:
    """Compute on every core, at the lowest priority, until the end of the block."""
    with ExitStack() as ends:
        for core in os.sched_getaffinity(0):
            command = [sys.executable, "-c", SPIN, str(core), str(os.getpid())]
            spinner = ends.enter_context(subprocess.Popen(command))
            ends.callback(spinner.kill)
        yield
