"""Clients behind a load balancer, and clients that are only configured."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket

import grpc
import pytest

from mgr.client.async_client import AsyncClient
from mgr.errors import UnreachableError
from mgr.rpc.v1.command_pb2 import ExecuteRequest
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from tests.integration.rpc.cluster import Standby, cluster
from tests.support.certificates import Authority
from tests.support.tree import ROOT

pytestmark = pytest.mark.slow  # real servers, and waits that are the point


def unused():
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Balancer:
    """A TCP load balancer: each connection goes to the next manager."""

    def __init__(self, hosts):
        self._hosts = itertools.cycle(hosts)
        self._writers = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader, writer):
        self.connections += 1
        host, _, port = next(self._hosts).rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self._writers += [writer, far_writer]
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(pump(reader, far_writer))
            pumps.create_task(pump(far_reader, writer))


async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


def advertise_unreachable(three):
    """``a`` leads; every manager advertises an address that nobody can reach from here."""
    three.promote("a", 5)
    for manager in three.managers.values():
        manager.view.waiting = []
        manager.view.set(three["a"].leader_view(5, address=unused()))
        if manager.name != "a":
            manager.role = Standby(manager.view)


async def test_behind_a_balancer_the_given_address_is_dialled_again_until_it_is_the_active(three):
    """Whichever manager the first connection leads to: the advertised address is no way."""
    advertise_unreachable(three)
    async with Balancer(three.hosts) as balancer:
        for _ in range(6):
            async with AsyncClient([balancer.address], timeout_s=20) as client:
                assert (await client.execute(["echo", "x"])).stderr == "a"


async def test_an_unreachable_advertised_address_is_named_with_the_setting(three):
    """If the balancer never chooses the active."""
    advertise_unreachable(three)
    async with (
        Balancer([three["b"].address, three["c"].address]) as balancer,
        AsyncClient([balancer.address], timeout_s=3) as client,
    ):
        with pytest.raises(UnreachableError, match=r"advertises .* set grpc_advertise"):
            await client.execute(["echo", "x"])

    assert 1 < balancer.connections < 60


async def test_with_tls_a_client_that_is_only_configured_gives_the_name_of_all_managers(tmp_path):
    """Otherwise gRPC looks for the list of addresses in each certificate, and does not find it."""
    authority = Authority()
    cert, key = authority.issue("any", uris=["mgr:client:any"])
    credentials = grpc.ssl_channel_credentials(authority.pem, key, cert)
    request = ExecuteRequest(words=["echo"], request_id="r")

    async with cluster("a", "b", **authority.settings(tmp_path)) as two:
        two.promote("a", 5)
        target = "ipv4:" + ",".join(two.hosts)
        options = [("grpc.service_config", json.dumps(page_config()))]
        named = [*options, ("grpc.default_authority", "localhost")]
        async with grpc.aio.secure_channel(target, credentials, options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="Hostname Verification"):
                await CommandServiceStub(channel).Execute(request, timeout=10)
        async with grpc.aio.secure_channel(target, credentials, options=named) as channel:
            answer = await CommandServiceStub(channel).Execute(request, timeout=10)

    assert answer.stderr == "a"


def page_config():
    """The service configuration that the page gives to any gRPC client."""
    page = (ROOT / "docs/how-to/connect-clients.md").read_text()
    return json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])


@pytest.mark.parametrize("health_checks", [True, False])
async def test_a_client_that_is_only_configured_loses_no_call_in_a_hand_over(three, health_checks):
    """The configuration is the page's; not every language has the health checks."""
    config = page_config()
    if not health_checks:
        del config["healthCheckConfig"]
    three.promote("a", 5)
    options = [("grpc.service_config", json.dumps(config)), ("grpc.enable_retries", 1)]
    target = "ipv4:" + ",".join(three.hosts)
    answers = []
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        stub = CommandServiceStub(channel)
        for number in range(36):
            if number == 18:
                three["a"].gate.end("handed over")
                three["a"].server.set_serving(False)
                three.promote("b", 6)
            request = ExecuteRequest(words=["echo", str(number)], request_id=f"r-{number}")
            answers.append((await stub.Execute(request, timeout=10)).stderr)

    assert answers == ["a"] * 18 + ["b"] * 18
