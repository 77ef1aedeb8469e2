"""A guard that inherits processes, as process 1 of a container does, leaves no zombies."""

from __future__ import annotations

import os
import sys

import pytest

from mgr.guard.orphans import REAP_EVERY_S
from mgr.guard.spawn import spawn, started_reapers
from tests.support import process

pytestmark = pytest.mark.etcd

ORPHAN = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # as process 1: what loses its parent comes here
if os.fork() == 0:
    if os.fork() == 0:
        os.execv("/bin/sleep", ["orphan", "{REAP_EVERY_S / 10}"])
    os._exit(0)
os.wait()
os.execv(sys.executable, [sys.executable, "-P", *sys.argv[1:]])
"""
"""Becomes the program in its arguments, with a child that it did not start and that ends soon."""


async def test_what_the_guard_inherits_is_reaped(team, monkeypatch):
    """Not only once it ended, and not the reaper of its worker, which is waited for elsewhere."""
    starter = team.directory / "starter.py"
    starter.write_text(ORPHAN)
    start = process.start

    def start_with_orphan(command, **options):
        return start([command[0], starter, *command[2:]], **options)

    monkeypatch.setattr(process, "start", start_with_orphan)
    active = team.start("a")
    await team.until(lambda: team.leads("a"))

    await team.until(lambda: len(process.children(active.pid)) == 1)

    worker = active.worker
    os.kill(worker, 9)
    await team.until(lambda: active.worker not in {None, worker})
    assert active.status is None


def test_a_reaper_is_known_as_long_as_somebody_waits_for_it():
    """Its status belongs to whoever started it."""
    spawned = spawn((sys.executable, "-c", "import time; time.sleep(60)"))
    pid = spawned.reaper.pid
    assert pid in started_reapers()

    spawned.terminate()
    del spawned

    assert pid not in started_reapers()
