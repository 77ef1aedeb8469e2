"""The first worker is started before its guard is one, and does not outlive a failure of that."""

from __future__ import annotations

import sys

import pytest

from mgr.errors import NameTakenError
from mgr.guard import service
from mgr.guard.early_signals import EarlySignals
from mgr.guard.spawn import spawn
from mgr.settings import Settings
from tests.support.process import gone

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


def test_a_guard_that_cannot_be_one_leaves_no_worker_behind(monkeypatch):
    """Its name may be taken: then nobody would ever tell the waiting process anything."""

    async def refused(*_):
        raise NameTakenError("manager 'a' is running already")

    monkeypatch.setattr(service, "_serve", refused)
    first = spawn(SLEEPER)

    with pytest.raises(NameTakenError):
        service.run(
            Settings(id="a"), worker=SLEEPER, first=first, version="1", early=EarlySignals()
        )

    assert gone(first.reaper.pid)
