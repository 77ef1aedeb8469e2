"""Three managers of a pretended cluster, and a client that knows all of them."""

from __future__ import annotations

import grpc
import pytest

from mgr.client.async_client import AsyncClient
from tests.integration.rpc.cluster import cluster
from tests.integration.rpc.reporting import daemons


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


@pytest.fixture
async def active():
    """One manager that leads, alone."""
    async with cluster("a") as managers:
        managers.promote("a", 7)
        yield managers["a"]


@pytest.fixture
async def fleet(active):
    """The daemons that it knows."""
    return active.role.fleet


@pytest.fixture
async def stub(active):
    """Of a program that knows no option of gRPC, and drives its streams by hand."""
    async with daemons(active.address) as stub:
        yield stub
