"""How a reaper finds what a worker started, and knows that nothing of it runs any more."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr.guard import reaper
from mgr.guard.spawn import SpawnedWorker, spawn
from tests.support import process
from tests.support.cluster import wait_for


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


ACTING = """
import mmap, os, sys, threading, time
marks = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)
def act(place):
    while True:
        marks[place] = (marks[place] + 1) % 256
def live_until_told():
    while not marks[9]:
        time.sleep(0.002)
threading.Thread(target=live_until_told).start()
for child in range(3):
    if os.fork() == 0:
        os.setsid()
        act(child)
for thread in range(3, 8):
    threading.Thread(target=act, args=(thread,), daemon=True).start()
act_in_first_thread = os.environ.get("FIRST_THREAD_ENDS") is None
while act_in_first_thread:
    marks[8] = (marks[8] + 1) % 256
import ctypes
ctypes.CDLL(None).syscall({exit}, 0)
"""
"""Nine threads and processes that write to shared memory without a pause; the first thread may end,
and the oldest of the others ends when it is told."""
PATIENCE_S = 50.0
EXIT = {"x86_64": 60}.get(os.uname().machine, 93)


class Worker:
    """A worker of ``ACTING`` below its reaper."""

    def __init__(self, spawned: SpawnedWorker, marks: mmap.mmap) -> None:
        self.spawned = spawned
        self.marks = marks
        self.pid = int(self.heard().split()[1])

    def heard(self) -> str:
        """The next message of the reaper but ``untimed``."""
        while (message := self.spawned.control.recv(64).decode()) == "untimed":
            pass
        return message

    def wait_acting(self, count: int) -> None:
        """Wait until ``count`` of its threads and processes have written."""
        before = self.marks[:9]

        def written() -> int:
            return sum(one != other for one, other in zip(before, self.marks[:9], strict=True))

        wait_for(lambda: written() >= count, f"{count} to act", PATIENCE_S)

    def still(self) -> bool:
        """Whether nothing of it writes for a while."""
        before = self.marks[:9]
        threading.Event().wait(0.2)
        return bool(self.marks[:9] == before)


@contextlib.contextmanager
def acting_worker(tmp_path) -> Iterator[Worker]:
    """Start it and wait until every thread and process acts."""
    path = tmp_path / "marks"
    path.write_bytes(bytes(4096))
    spawned = spawn((sys.executable, "-c", ACTING.replace("{exit}", str(EXIT)), str(path)))
    spawned.control.settimeout(PATIENCE_S)
    try:
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as marks:
            worker = Worker(spawned, marks)
            worker.wait_acting(8 if os.environ.get("FIRST_THREAD_ENDS") else 9)
            yield worker
    finally:
        spawned.terminate()


def _watches_a_thread(worker: Worker) -> bool:
    fds = Path(f"/proc/{worker.spawned.reaper.pid}/fd")
    return any("[pidfd]" in str(fd.readlink()) for fd in fds.iterdir())


def test_the_end_of_one_thread_is_not_that_of_its_worker(tmp_path):
    """The reaper watches one: if it ends by itself, the others go on, and another is watched."""
    with acting_worker(tmp_path) as worker:
        tasks = Path(f"/proc/{worker.pid}/task")
        threads = len([*tasks.iterdir()])
        watched = _has_thread_pidfds()
        wait_for(lambda: _watches_a_thread(worker) or not watched, "it to watch", PATIENCE_S)
        worker.marks[9] = 1
        wait_for(lambda: len([*tasks.iterdir()]) < threads, "the end of a thread", PATIENCE_S)
        worker.wait_acting(9)
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.heard() == f"gone exited {-signal.SIGKILL}"


def _has_thread_pidfds() -> bool:
    try:
        os.close(os.pidfd_open(threading.get_native_id(), os.O_EXCL))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_an_end_is_reported_when_nothing_runs_any_more(tmp_path, number):
    """Before the kernel has freed its memory; the reaper's exit says that it has."""
    with acting_worker(tmp_path) as worker:
        os.kill(worker.pid, number)
        assert worker.heard() == f"gone exited {-number}"
        assert worker.still()
        assert worker.spawned.reaper.wait(PATIENCE_S) == 0
        assert process.gone(worker.pid)


def test_a_worker_whose_first_thread_has_ended_has_not(tmp_path, monkeypatch):
    """The kernel shows such a process as a zombie, and its other threads act on."""
    monkeypatch.setenv("FIRST_THREAD_ENDS", "1")
    with acting_worker(tmp_path) as worker:
        wait_for(lambda: process.gone(worker.pid), "its end", PATIENCE_S)
        assert not reaper.has_ended(worker.pid)
        worker.wait_acting(8)
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.heard() == f"gone exited {-signal.SIGKILL}"
        assert worker.still()


def test_a_zombie_has_ended_and_so_has_what_is_gone():
    """``has_ended`` is asked of processes that others may reap meanwhile."""
    ended = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert reaper.has_ended(ended.pid)
    finally:
        ended.wait()
    assert reaper.has_ended(ended.pid)
    assert not reaper.has_ended(os.getpid())


def test_a_process_that_cannot_be_seen_has_not_ended(monkeypatch):
    """One of another user, where ``/proc`` shows only one's own."""
    monkeypatch.setattr(reaper, "_threads", lambda _: [])
    assert not reaper.has_ended(os.getpid())


def test_a_worker_that_cannot_show_its_stacks_yet_is_not_ended_by_the_question():
    """Its guard asks a slow one before it is ready."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = [sys.executable, "-I", "-S", reaper.__file__, str(theirs.fileno())]
    with ours, subprocess.Popen([*program, "/bin/sleep", "60"], pass_fds=[theirs.fileno()]) as made:
        theirs.close()
        try:
            pid = int(ours.recv(64).split()[1])
            status = Path(f"/proc/{pid}/status")
            wait_for(lambda: "Name:\tsleep" in status.read_text(), "the program")
            ignored = int(re.search(r"SigIgn:\s*(\w+)", status.read_text())[1], 16)
        finally:
            made.kill()

    assert ignored & 1 << (reaper.DUMP_SIGNAL - 1)
