"""Three managers of a pretended cluster, and a client that knows all of them."""

from __future__ import annotations

import grpc
import pytest

from mgr.client.aio import AsyncClient
from tests.integration.rpc.cluster import cluster


@pytest.fixture(scope="session", autouse=True)
def grpc_is_up():
    """The first channel of a process starts gRPC's core, which no test should pay for."""
    grpc.insecure_channel("127.0.0.1:1").close()


@pytest.fixture
async def three():
    async with cluster("a", "b", "c") as managers:
        yield managers


@pytest.fixture
async def client(three):
    async with AsyncClient(three.hosts, timeout_s=5) as client:
        yield client
