"""Three managers of a pretended cluster, and a client that knows all of them."""

from __future__ import annotations

import pytest

from mgr.client.aio import AsyncClient
from tests.integration.rpc.cluster import cluster


@pytest.fixture
async def three():
    async with cluster("a", "b", "c") as managers:
        yield managers


@pytest.fixture
async def client(three):
    async with AsyncClient(three.hosts, timeout_s=5) as client:
        yield client
