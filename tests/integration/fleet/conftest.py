"""Three managers that take reports, and programs that join them."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from mgr.client import AsyncDaemon
from tests.support.fake_fleet import fake_fleet


@pytest.fixture(scope="session", autouse=True)
def grpc_is_up():
    """The first channel of a process starts gRPC's core, which no test should pay for."""
    grpc.insecure_channel("127.0.0.1:1").close()


@pytest.fixture
async def fleet():
    async with fake_fleet("a", "b", "c") as managers:
        managers.lead("a")
        yield managers


@pytest.fixture
async def web(fleet):
    async with AsyncDaemon("web", "eu-1", fleet.hosts, version="1.2") as daemon:
        yield daemon


@pytest.fixture
def until():
    async def waited(condition):
        """Wait for what must become true; the suite's limit is the limit."""
        while not condition():  # noqa: ASYNC110 - many conditions, none of which tells of itself
            await asyncio.sleep(0.01)

    return waited
