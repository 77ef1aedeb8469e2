"""A failpoint: nothing without its variable; with it, one file is one hit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mgr import failpoint
from mgr.failpoint import VARIABLE, Point, reach
from tests.support.tree import ROOT

PROGRAM = """
from mgr.failpoint import Point, reach
for _ in range(3):
    reach(Point.WRITE)
print("through", flush=True)
"""


def test_without_the_variable_nothing_is_looked_for(monkeypatch, tmp_path):
    """A file of that name in the working directory does nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / Point.WRITE).write_text("SIGKILL")

    reach(Point.WRITE)

    assert failpoint._DIRECTORY == ""


def test_every_point_is_reached_somewhere():
    """A name in the list that no code passes would make a test wait for ever."""
    code = "".join(path.read_text() for path in (ROOT / "mgr").rglob("*.py"))

    assert [point.name for point in Point if f"reach(Point.{point.name})" not in code] == []


@pytest.mark.slow
def test_a_file_stops_the_process_once_and_is_gone(tmp_path):
    """It goes on when it is told to, past the point, and does not stop there again."""
    (tmp_path / Point.WRITE).write_text("SIGSTOP")
    environment = {**os.environ, VARIABLE: str(tmp_path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM], stdout=subprocess.PIPE, env=environment
    ) as running:
        stopped = os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WEXITED)
        assert stopped.si_code == os.CLD_STOPPED
        assert list(tmp_path.iterdir()) == []

        running.send_signal(signal.SIGCONT)

        assert running.communicate(timeout=10)[0] == b"through\n"
