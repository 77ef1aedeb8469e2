"""Signals to the guard: the early ones are kept, and those without meaning end nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.tree import ROOT

EARLY = """
import importlib, os, signal
from mgr import mgrd

imported = importlib.import_module

def import_after_signal(name, *rest):
    os.kill(os.getpid(), signal.{name})
    return imported(name, *rest)

mgrd.WORKER = ("/bin/sleep", "60")
importlib.import_module = import_after_signal
mgrd.main()
"""
"""``mgrd``, which gets a signal while it imports its guard."""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_signal_before_the_manager_starts_is_kept(name):
    """It ends as if it had come later: in order, with status 0, and before it joins."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", EARLY.format(name=name), "--id", "a", "--etcd", "127.0.0.1:1"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "stop requested before the manager started" in done.stderr
    assert "manager stopped" in done.stderr


@pytest.mark.etcd
async def test_signals_without_meaning_are_logged_and_end_nothing(team):
    """A timer of somebody else; and a reload is none that ends or is refused."""
    active = team.start("a")
    await team.until(lambda: team.leads("a"))
    term = await team.term()

    active.signal(signal.SIGHUP)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        active.signal(number)
        await team.until(lambda name=number.name: active.has_logged(f"signal={name}"))

    assert (active.status, await team.term()) == (None, term)
    assert not active.has_logged("signal=SIGHUP")
    active.signal(signal.SIGTERM)
    await team.until(lambda: active.status == 0)
