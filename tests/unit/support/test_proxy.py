"""The cable that a test cuts: who is at its end, and what arrives late."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.support.faults import peers
from tests.support.faults.proxy import Mode, Proxy

LATE_S = 0.2


class Server:
    """Echoes nothing; keeps what arrived."""

    def __init__(self):
        self.received = b""
        self.closed = asyncio.Event()

    async def serve(self, reader, writer):
        while data := await reader.read(100):
            self.received += data
            writer.write(b"answer")
        writer.close()
        self.closed.set()


@pytest.fixture
async def server():
    here = Server()
    listening = await asyncio.start_server(here.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    here.address = f"{host}:{port}"
    yield here
    listening.close()


async def connect(proxy):
    host, _, port = proxy.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def whose(near_port, far_port):
    """The guard is this process; it has no worker."""
    return peers.party(os.getpid(), [], peers.inode(near_port, far_port))


async def test_it_knows_which_process_connected(server):
    """By the kernel's tables; a connection of nobody that is known belongs to nobody."""
    async with Proxy(server.address, whose) as proxy:
        reader, writer = await connect(proxy)
        writer.write(b"x")
        assert await reader.read(10) == b"answer"

        assert set(proxy.carried_bytes) == {peers.GUARD}
        writer.close()
    assert peers.party(os.getpid(), [], "") == ""
    assert peers.inode(1, 2) == ""


async def test_one_partys_connections_are_cut_alone(server):
    """The others' go on, also those that begin then."""
    parties = iter(["guard", "worker", "worker"])
    async with Proxy(server.address, lambda *_: next(parties)) as proxy:
        guard, worker = await connect(proxy), await connect(proxy)
        for _, writer in (guard, worker):
            writer.write(b"x")
        assert await worker[0].read(10) == b"answer"

        proxy.set_for("worker", Mode.REFUSE)
        proxy.reset("worker")
        with pytest.raises(ConnectionError):
            await worker[0].read(10)
        refused, _ = await connect(proxy)
        with pytest.raises(ConnectionError):
            await refused.read(10)
        assert await guard[0].read(10) == b"answer"


async def test_what_is_held_up_arrives_after_its_sender_has_gone(server):
    """In order, and nothing of it is lost."""
    async with Proxy(server.address, lambda *_: "worker") as proxy:
        proxy.hold_up("worker", LATE_S)
        _, writer = await connect(proxy)
        for part in (b"one", b"two"):
            writer.write(part)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert server.received == b""

        await server.closed.wait()

    assert server.received == b"onetwo"
