"""Signals that a module sends to the worker end nothing; what it starts can still be ended."""

import signal
import subprocess
import sys

import pytest

from mgr.worker.signals import IGNORED

PROGRAM = """
import asyncio, logging, os, signal, subprocess, sys, _thread
from mgr.worker.signals import ignore_signals

logging.basicConfig(format="%(message)s %(signal)s", stream=sys.stdout)

async def main():
    ignore_signals(asyncio.get_running_loop())
    _thread.interrupt_main()
    for number in map(int, sys.argv[1:]):
        os.kill(os.getpid(), number)
    await asyncio.sleep(0)
    ready, begun = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begun, b"1")
        signal.pause()
    os.read(ready, 1)
    started = subprocess.Popen(["sleep", "60"])
    for pid in (child, started.pid):
        os.kill(pid, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), started.wait(), flush=True)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def said():
    """What a process says that gets each of them."""
    command = [sys.executable, "-P", "-c", PROGRAM, *(str(int(each)) for each in IGNORED)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("number", IGNORED)
def test_a_signal_is_logged_and_ends_nothing(said, number):
    """Also that of ``_thread.interrupt_main``, and of a timer that a module set."""
    assert f"signal ignored: the guard ends this worker {number.name}" in said


def test_what_a_module_starts_ends_by_sigterm(said):
    """A forked child and another program: neither inherits that it is ignored."""
    assert said[-1] == f"{-signal.SIGTERM} {-signal.SIGTERM}"
