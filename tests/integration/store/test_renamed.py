"""A name whose address changes: the new one is used within seconds."""

from __future__ import annotations

import asyncio
import socket
import struct

import grpc
import pytest

from mgr.client import peers
from mgr.store import endpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

NAME = "etcd.test"
WITHIN_S = 25
"""Far above what it takes, far below what gRPC takes by itself."""


class Names(asyncio.DatagramProtocol):
    """A name server that knows one name; ``address`` may be changed."""

    address = "127.0.0.1"

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, query, client):
        end = query.index(b"\0", 12) + 5
        (kind,) = struct.unpack("!H", query[end - 4 : end - 2])
        answers = kind == 1  # A; there is no AAAA
        head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(answers), 0, 0)
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(self.address)
        self.transport.sendto(head + query[12:end] + (record if answers else b""), client)


async def serve(address):
    server = grpc.aio.server()
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


async def connected(channel):
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


@pytest.mark.parametrize("options", [endpoint.OPTIONS, peers.OPTIONS], ids=["etcd", "manager"])
async def test_a_name_with_another_address_is_followed(options):
    """A member of etcd was replaced, and its name leads to the new one."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    server = transport.get_extra_info("sockname")[1]
    first, port = await serve("127.0.0.1:0")
    target = f"dns://127.0.0.1:{server}/{NAME}:{port}"
    try:
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            async with asyncio.timeout(WITHIN_S):
                await connected(channel)
            await first.stop(0)
            second, _ = await serve(f"127.0.0.2:{port}")
            state = grpc.ChannelConnectivity.READY
            async with asyncio.timeout(WITHIN_S):
                while channel.get_state(try_to_connect=True) is state:
                    await channel.wait_for_state_change(state)
                names.address = "127.0.0.2"
                await connected(channel)
            await second.stop(0)
    finally:
        transport.close()
