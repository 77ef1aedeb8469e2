"""A host's agent whose names other programs take."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from mgr.agent.agent import serve
from mgr.agent.settings import AgentSettings, Watch
from mgr.client import AsyncDaemon
from mgr.errors import ReplacedError

pytestmark = pytest.mark.slow  # real servers and a process

AGENT = Path(sys.executable).with_name("mgr-agent")
END_S = 20


def there(fleet, name):
    """Whether a daemon of that name has reported to whoever leads."""
    return any(each.name == name and each.reports for each in fleet.leader.streams)


async def test_an_agent_whose_name_is_taken_ends_and_says_so(fleet, until):
    """With a status of its own: systemd must not restart it, or the two take turns."""
    running = await asyncio.create_subprocess_exec(
        AGENT, "--hosts", ",".join(fleet.hosts), "--id", "x", stderr=asyncio.subprocess.PIPE
    )
    try:
        await until(lambda: there(fleet, "host.x"))
        async with AsyncDaemon("host", "x", fleet.hosts):
            async with asyncio.timeout(END_S):
                _, output = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()

    *_, last = output.decode().splitlines()
    assert running.returncode == ReplacedError.errno
    assert last.startswith("mgr-agent: host.x: another program joined under this name")


async def test_a_watched_name_that_is_taken_costs_the_agent_nothing_else(fleet, until, caplog):
    """The host and what else it watches go on."""
    watch = (
        Watch(process="no such program", type="web", id="nginx"),
        Watch(process="neither"),
    )
    settings = AgentSettings(
        hosts=tuple(fleet.hosts), id="x", smart=False, read_every_s=1, watch=watch
    )
    stop = asyncio.Event()

    def stopped():
        return [each for each in caplog.records if each.message.startswith("watching stopped")]

    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(serve(settings, "1", stop))
        await until(lambda: there(fleet, "web.nginx"))
        async with AsyncDaemon("web", "nginx", fleet.hosts):
            await until(stopped)
            known = len(fleet.leader["host.x"].reports)
            await until(lambda: len(fleet.leader["host.x"].reports) > known)

        assert there(fleet, "process.neither@x")
        assert not agent.done()
        stop.set()
    assert [each.daemon for each in stopped()] == ["web.nginx"]
