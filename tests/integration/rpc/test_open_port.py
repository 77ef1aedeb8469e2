"""The ports whose TLS is ours: what a client sends that has acknowledged no settings."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import replace

import pytest

from mgr.client.async_client import AsyncClient
from mgr.errors import MgrError
from mgr.host import connections
from mgr.host.server_tls import ServerTls
from mgr.rpc.acknowledged import PREFACE
from mgr.rpc.acknowledged import UNACKNOWLEDGED_BYTES_MAX as BYTES_MAX
from mgr.settings import Settings
from tests.integration.rpc.cluster import cluster
from tests.support.http2 import HEADERS, frame, frames_in, headers_frames, request
from tests.support.secured_etcd import USER, Certificates

JOIN = "/mgr.rpc.v1.CertificateService/Join"
HELD = {"grpc_hold_unacknowledged": True}
STATUS = "/mgr.rpc.v1.ManagerService/GetStatus"


@pytest.fixture
def pki(tmp_path):
    made = Certificates.make(tmp_path / "pki")
    made.write_client()
    return made


@contextlib.asynccontextmanager
async def opened(address, tls):
    """A connection to ``address`` that speaks HTTP/2 as it likes."""
    context = ssl.create_default_context(cadata=tls.ca.decode())
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if tls.cert:
        tls.load_into(context)
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answered(reader):
    """The kinds of the frames that arrive until the connection ends."""
    data = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            while part := await reader.read(10_000):
                data += part
    return frames_in(data)


@pytest.mark.parametrize("count", [5_000, 200_000])
@pytest.mark.parametrize("port", ["join", "token", "grpc"])
async def test_no_call_begins_before_the_settings_are_acknowledged(pki, monkeypatch, port, count):
    """By itself, gRPC would take half a million headers of a byte, and make objects of all."""
    monkeypatch.setattr(connections, "HEAD_S", 1.0)
    own = HELD if port == "grpc" else {f"{port}_listen": "127.0.0.1:0"}
    async with cluster("a", **own, **pki.settings(mutual=True)) as one:
        one.promote("a", 5)
        address = getattr(one["a"].server, "address" if port == "grpc" else f"{port}_address")
        path = JOIN if port == "join" else STATUS
        async with opened(address, pki.tls(with_client=port == "grpc")) as (reader, writer):
            writer.write(PREFACE + frame(4, 0, 0) + headers_frames(1, request(path, count)))
            kinds = await answered(reader)

        reached = one["a"].limits.recent()

    assert HEADERS not in kinds
    assert (f"{port}_headers" in reached) == (count > BYTES_MAX)


async def test_a_call_with_too_many_metadata_is_refused_unread(pki):
    """Who has a certificate can send them; what it costs is not repeated at each look at them."""
    async with cluster("a", **pki.settings(mutual=True)) as one:
        one.promote("a", 5)
        tls = pki.tls(with_client=True)
        async with opened(one["a"].address, tls) as (reader, writer):
            writer.write(PREFACE + frame(4, 0, 0) + headers_frames(1, request(STATUS, 5_000)))
            async with asyncio.timeout(20):
                data = b""
                while HEADERS not in frames_in(data):
                    data += await reader.read(10_000)
        async with AsyncClient(one.hosts, tls=tls) as client:
            assert (await client.execute(["echo", "x"])).retval == 0
        reached = one["a"].limits.recent()

    assert (reached["metadata"].count, reached["metadata"].caller) == (1, USER[0])


async def refused(one, tls):
    """Whether a client with these certificates reaches nothing."""
    async with AsyncClient(one.hosts, tls=tls, timeout_s=3, reach_s=1) as client:
        with pytest.raises(MgrError):
            await client.execute(["echo", "x"])


async def test_a_port_that_holds_asks_for_a_certificate_of_the_ca_of_now(pki):
    """OpenSSL keeps each CA that it was given: one that was replaced must go."""
    settings = pki.settings(mutual=True)
    tls = ServerTls.of(Settings(id="a", **settings))
    async with cluster("a", tls=tls, **HELD, **settings) as one:
        one.promote("a", 5)
        old, new = pki, Certificates.make(pki.folder)
        new.write_client()
        await tls.check()
        async with AsyncClient(one.hosts, tls=new.tls(with_client=True)) as client:
            assert (await client.execute(["echo", "x"])).retval == 0
        await refused(one, new.tls(with_client=False))
        await refused(one, replace(old.tls(with_client=True), ca=new.ca))
