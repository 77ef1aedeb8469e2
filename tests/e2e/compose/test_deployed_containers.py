"""An agent's containers on a real engine, through everything that can end one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import urllib.request

import pytest

from tests.e2e.compose import images
from tests.e2e.compose.shell import UnavailableError
from tests.support import process
from tests.unit.agent import test_orders
from tests.unit.agent.test_orders import Agent, deploy, order, results

IMAGE = f"mgr-test-busybox-{os.getpid()}:1"
NOWHERE = "127.0.0.1:9/nowhere:1"
"""An image that cannot be pulled: nothing listens there."""
NAME = f"web{os.getpid()}.h-0"
CONTAINER = f"mgr-{NAME}"
WAIT_S = 240


@pytest.fixture(scope="module")
def image(engine, unavailable):
    """A small image with a web server."""
    try:
        images.busybox(engine, IMAGE)
    except UnavailableError as error:
        unavailable(error)
    yield IMAGE
    engine.docker("image", "rm", "-f", IMAGE, check=False)


class Web:
    """A container that serves one page, as agents one after the other are told of it."""

    def __init__(self, engine, folder):
        self._engine = engine
        self._folder = folder
        self._port = process.free_port()

    def agent(self):
        """A new agent over the state of the one before."""
        allowed = {"kinds": ("container",), "images": (IMAGE, NOWHERE)}
        return Agent(self._folder, engine=shutil.which("docker"), **allowed)

    def deploy(self, page, revision, image=IMAGE):
        """The order to serve ``page``."""
        return deploy(
            NAME, key=revision, revision=revision, kind="container", image=image, files={"p": page},
            command=["/bin/busybox", "httpd", "-f", "-p", str(self._port), "-h", "/run/mgr"],
            ports=[self._port], probe={"http": f"{self._port}/p", "every_s": 0.5},
        )  # fmt: skip

    def _page(self):
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self._port}/p"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        return ""

    async def serves(self, page):
        """Wait until it serves ``page``."""
        async with asyncio.timeout(WAIT_S):
            while await asyncio.to_thread(self._page) != page:  # noqa: ASYNC110 - of a container
                await asyncio.sleep(0.2)

    async def docker(self, *words):
        """Run ``docker``; what it printed."""
        return (await asyncio.to_thread(self._engine.docker, *words, check=False)).strip()

    async def identity(self):
        """The id of the container."""
        return await self.docker("container", "inspect", "-f", "{{.Id}}", CONTAINER)

    async def containers(self):
        """The names of its containers, those that ended among them."""
        return (await self.docker("ps", "-aq", "--filter", f"name={CONTAINER}")).split()


@pytest.fixture
async def web(engine, image, tmp_path, monkeypatch):
    """The service and nothing yet."""
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(test_orders, "WAIT_S", WAIT_S)
    found = Web(engine, tmp_path / "deploy")
    yield found
    await found.docker("rm", "-f", CONTAINER)


async def test_a_container_is_started_replaced_restarted_adopted_and_removed(web):
    """One of its name at any time, and nothing is left behind."""
    async with web.agent() as agent:
        assert results(await agent.run(web.deploy("one", "1"))) == {"1": ""}
        await web.serves("one")
        assert results(await agent.run(web.deploy("two", "2"))) == {"2": ""}
        await web.serves("two")
        await agent.reaches(NAME, "ready")
        assert len(await web.containers()) == 1

        before = await web.identity()
        await web.docker("kill", "-s", "KILL", CONTAINER)
        await agent.reaches(NAME, "starting")
        row = await agent.reaches(NAME, "ready")
        assert (row[3], await web.identity() != before) == (1, True)
        before = await web.identity()

    await web.serves("two")
    async with web.agent() as agent:
        await agent.reaches(NAME, "ready")
        assert await web.identity() == before
    await web.docker("kill", "-s", "KILL", CONTAINER)
    async with web.agent() as agent:
        await web.serves("two")
        assert (await web.identity() != before, len(await web.containers())) == (True, 1)

        await agent.run(web.deploy("three", "3", NOWHERE))
        row = await agent.reaches(NAME, "failed")
        assert row[4].startswith("docker: ")
        await agent.run(order("remove", NAME, key="4"))
        await agent.without(NAME)
        assert await web.containers() == []
