"""A container engine that does not answer for a while: nothing is lost, started twice or left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from mgr.agent.deploy import containers, supervisor
from mgr.agent.deploy.containers import container_name
from tests.unit.agent.test_orders import Agent, deploy, order, results

NAME = "web.h-0"
WAIT_S = 20


class Engine:
    """The engine of ``engine.sh``; ``down`` while that file is there."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.program = Path(shutil.copy(Path(__file__).with_name("engine.sh"), folder / "engine"))
        self.down = folder / "down"

    @property
    def settings(self):
        """What an agent's settings say of it."""
        return {"kinds": ("container",), "images": ("web:*",), "engine": str(self.program)}

    def runs(self):
        """How many containers were started."""
        file = self.folder / "runs"
        return len(file.read_text().split()) if file.exists() else 0

    def refused(self, command):
        """Whether it refused this command."""
        file = self.folder / "refused"
        return file.exists() and command in file.read_text().split()

    def pid(self):
        """The process of the daemon's container."""
        return int((self.folder / f"{container_name(NAME)}.pid").read_text())

    def left(self):
        """Containers that are there."""
        return [file.stem for file in self.folder.glob("*.pid")]


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """One engine; its containers end with the test."""
    monkeypatch.setattr(containers, "POLL_S", 0.05)
    monkeypatch.setattr(supervisor, "PAUSE_S_MAX", 0.3)
    found = Engine(tmp_path / "engine")
    yield found
    for file in found.folder.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


def container(**fields):
    return deploy(NAME, kind="container", command=[], image="web:1", **fields)


async def until(probe):
    async with asyncio.timeout(WAIT_S):
        while not probe():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.02)


async def test_what_runs_goes_on_while_the_engine_does_not_answer(tmp_path, engine):
    """The engine's words are shown; then the daemon is found again, not started."""
    async with Agent(tmp_path / "deploy", **engine.settings) as agent:
        assert results(await agent.run(container())) == {"1": ""}
        await agent.reaches(NAME, "ready")
        pid = engine.pid()
        assert await agent.log(NAME) == (0, "serving", "")

        engine.down.touch()
        retval, _, why = await agent.log(NAME)
        assert (retval, "Cannot connect" in why) == (-errno.EIO, True)
        row = await agent.reaches(NAME, "failed")
        assert "Cannot connect to the Docker daemon" in row[4]
        engine.down.unlink()
        row = await agent.reaches(NAME, "ready")

        assert (engine.pid(), engine.runs(), row[3]) == (pid, 1, 0)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: engine.runs() == 2)
        assert (await agent.reaches(NAME, "ready"))[3] == 1


async def test_what_is_removed_meanwhile_is_gone_once_the_engine_answers(tmp_path, engine):
    """Not forgotten, and not left running."""
    async with Agent(tmp_path / "deploy", **engine.settings) as agent:
        await agent.run(container())
        await agent.reaches(NAME, "ready")
        engine.down.touch()
        await agent.run(order("remove"))
        await until(lambda: engine.refused("rm"))
        assert engine.left()

        engine.down.unlink()
        await until(lambda: not engine.left())
        await agent.without(NAME)


async def test_an_agent_that_starts_without_its_engine_finds_what_runs_later(tmp_path, engine):
    """It does not start a second one."""
    async with Agent(tmp_path / "deploy", **engine.settings) as agent:
        await agent.run(container())
        await agent.reaches(NAME, "ready")
    engine.down.touch()
    async with Agent(tmp_path / "deploy", **engine.settings) as agent:
        await agent.reaches(NAME, "failed")
        engine.down.unlink()
        await agent.reaches(NAME, "ready")
        assert engine.runs() == 1
