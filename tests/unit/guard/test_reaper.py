"""How a reaper finds what a worker started: with the kernel's own lists, and without."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from mgr.guard import reaper
from tests.support import process


@pytest.fixture(params=[True, False], ids=["lists", "scan"])
def _way(request, monkeypatch):
    if request.param and not reaper._LISTS_CHILDREN:
        pytest.skip("this kernel has no /proc/<pid>/task/<tid>/children")
    monkeypatch.setattr(reaper, "_LISTS_CHILDREN", request.param)


@pytest.mark.usefixtures("_way")
def test_grandchildren_and_what_a_thread_started_are_found():
    """Each thread of a process has a list of its own."""
    found: list[subprocess.Popen[bytes]] = []
    started_all, over = threading.Event(), threading.Event()

    def start() -> None:
        command = ["sh", "-c", "sleep 60 & echo; wait"]
        started = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert started.stdout is not None
        started.stdout.readline()
        found.append(started)

    def start_and_live() -> None:
        start()
        started_all.set()
        over.wait(30)

    thread = threading.Thread(target=start_and_live)
    start()
    thread.start()
    try:
        assert started_all.wait(10)
        below = set(process.descendants(os.getpid()))
        assert {started.pid for started in found} < below
        assert reaper.descendants(os.getpid()) == below
    finally:
        over.set()
        thread.join()
        for started in found:
            os.killpg(started.pid, 9)
            started.communicate()


@pytest.mark.usefixtures("_way")
def test_a_zombie_is_left_out():
    """It acts no more; it stays until its parent reaps it."""
    ended = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert ended.pid not in reaper.descendants(os.getpid())
    finally:
        ended.wait()
