"""What an agent reports of a host whose metrics cannot be read."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mgr.agent import agent, watched_units
from mgr.agent.settings import Watch
from mgr.client.daemon.program import Program
from mgr.errors import OverloadedError

STUCK = (TimeoutError, OverloadedError)


class Hanging:
    """Meters on a file system that hangs until it is let go."""

    def __init__(self):
        self.goes_on = threading.Event()

    def read(self):
        assert self.goes_on.wait(20)


@pytest.fixture
def host():
    program = Program("host", "h", host="h", version="", metadata=None, on_replaced=None)
    yield program
    program.gauge_thread.close()


@pytest.fixture
def hanging():
    metrics = Hanging()
    yield metrics
    metrics.goes_on.set()


async def test_metrics_that_hang_are_reported_as_stuck_until_they_are_read_again(
    host, hanging, monkeypatch
):
    """However often they are sampled meanwhile; the agent reports on."""
    monkeypatch.setattr("mgr.agent.agent.READ_S", 0.1, raising=False)
    work = agent._host_reader(hanging, host)

    async with asyncio.timeout(10):
        for _ in range(4):
            await work()
            assert host.status["meters"] == "stuck"

        hanging.goes_on.set()
        while host.status["meters"] != "ok":
            await work()


async def test_a_process_is_unknown_while_the_host_cannot_be_read(host, hanging, monkeypatch):
    """Not what it was last."""
    watch = Watch(process="x")
    async with asyncio.timeout(10):
        await watched_units.sample(watch, host)
        assert host.status["state"] == "absent"

        monkeypatch.setattr("mgr.agent.watched_units.LIMIT_S", 0.1)
        monkeypatch.setattr("mgr.agent.watched_units.report_process", lambda *_: hanging.read())
        for _ in range(3):
            with pytest.raises(STUCK):
                await watched_units.sample(watch, host)

    assert host.status["state"] == "unknown"
    assert host.reported_state.metrics == ()
