"""Clients that open connections and do not go on: each has a descriptor of the manager."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from mgr.client.async_client import AsyncClient
from mgr.rpc import arriving, join_server, server
from tests.integration.rpc.cluster import cluster
from tests.support.secured_etcd import Certificates

CONNECTIONS = 8
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""How a TLS handshake begins; the rest of it would be 500 bytes."""


@pytest.fixture
def pki(tmp_path):
    made = Certificates.make(tmp_path / "pki")
    made.write_client()
    return made


@pytest.fixture(autouse=True)
def _few_and_soon(monkeypatch):
    """Eight connections, and one second for a handshake or a request; five at the join port."""
    for part in (server, join_server):
        monkeypatch.setattr(part, "connections_max", lambda _share: CONNECTIONS)
    monkeypatch.setattr(server, "HANDSHAKE_MS", 1000)
    monkeypatch.setattr(arriving, "ARRIVE_S", 1.0)


async def begin(port):
    """Send the beginning of a handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(HELLO)
    return reader, writer


async def ended(reader, writer):
    """Send a byte now and then, which is no reason to wait on, until the manager closes."""
    with contextlib.suppress(ConnectionError):
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    if not await reader.read(100):
                        break
            writer.write(b"\x00")
    writer.close()


async def shaken(port, tls):
    """Finish the handshake, and send nothing."""
    context = ssl.create_default_context(cadata=tls.ca.decode())
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    return await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def answered(one, tls):
    """What a client is answered that tries again for a while."""
    async with AsyncClient(one.hosts, timeout_s=40, reach_s=30, tls=tls) as client:
        return (await client.execute(["echo", "x"])).retval


@pytest.mark.timeout(90)
@pytest.mark.parametrize("port", ["grpc", "join"])
async def test_unfinished_handshakes_keep_nobody_out_for_longer_than_their_time(pki, port):
    """More of them than there may be connections, each a byte at a time."""
    async with cluster("a", join_listen="127.0.0.1:0", **pki.settings(mutual=True)) as one:
        one.promote("a", 5)
        made = one["a"].server
        address = made.address if port == "grpc" else made.join_address
        opened = [await begin(int(address.rpartition(":")[2])) for _ in range(2 * CONNECTIONS)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for each in opened:
                tasks.create_task(ended(*each))
            served = tasks.create_task(answered(one, pki.tls(with_client=True)))

        assert served.result() == 0


@pytest.mark.timeout(90)
async def test_a_client_that_says_nothing_after_its_handshake_is_disconnected(pki):
    """Where no certificate is asked for, anybody gets this far."""
    async with cluster("a", join_listen="127.0.0.1:0", **pki.settings(mutual=True)) as one:
        port = int(one["a"].server.join_address.rpartition(":")[2])
        opened = [await shaken(port, pki.tls(with_client=False)) for _ in range(CONNECTIONS // 2)]
        async with asyncio.timeout(60):
            for reader, writer in opened:
                while await reader.read(100):  # the manager's own settings
                    pass
                writer.close()


async def never():
    """Send nothing."""
    await asyncio.Event().wait()
    yield b""


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "method",
    [
        "mgr.rpc.v1.CommandService/Execute",
        "mgr.rpc.v1.ManagerService/FollowLog",
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
    ],
)
async def test_a_call_whose_request_never_arrives_ends(method):
    """No limit by caller counts it: who calls is known with the request."""
    async with cluster("a") as one, grpc.aio.insecure_channel(one["a"].address) as channel:
        one.promote("a", 5)
        calls = [channel.stream_unary(f"/{method}")(never()) for _ in range(20)]
        for call in calls:
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "no request arrived" in await call.details()


async def test_streams_of_reflection_are_counted_as_well():
    """Everybody may have them, before the caller is known."""
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    codes = []
    async with contextlib.AsyncExitStack() as ends:
        one = await ends.enter_async_context(cluster("a", grpc_streams_max=10))
        # gRPC's client keeps to the limit of one connection by itself.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await ends.enter_async_context(
                grpc.aio.insecure_channel(one["a"].address, options=options)
            )
            for _ in range(2)
        ]
        for channel in channels * 6:
            call = channel.stream_stream(path)()
            ends.callback(call.cancel)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call.write(request)
                if await call.read() is not grpc.aio.EOF:
                    continue
            codes.append(await call.code())

    assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
