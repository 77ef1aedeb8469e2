"""Which process below a guard is its worker."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from tests.support import process

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
WORKER = ["python3", "-P", "-m", "mgr.worker"]


@contextlib.contextmanager
def started(*words):
    """A process with these words in its command line, below this one."""
    with subprocess.Popen([*SLEEP, *words]) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def test_a_reaper_whose_worker_has_ended_is_no_worker():
    with started("/x/mgr/guard/reaper.py", "19", *WORKER):
        assert process.workers(os.getpid()) == []
        with started(*WORKER) as worker:
            assert process.workers(os.getpid()) == [worker]
