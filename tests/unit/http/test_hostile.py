"""What hostile clients send to the HTTP port, and what a probe is answered beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
import types

import httpx
import pytest
from prometheus_client import CollectorRegistry

from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.http import server as http_server
from mgr.http.protocol import HEAD_BYTES_MAX, HEADERS_MAX, PIPELINED_MAX
from mgr.http.server import serve
from mgr.settings import Settings
from tests.support.secured_etcd import Certificates
from tests.unit.http.test_pages import View, leads

GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"


class Server:
    """A running server and what it counted."""

    def __init__(self, server, limits):
        self.address = server.address
        self.limits = limits

    async def open(self, tls=None):
        host, port = self.address.split(":")
        return await asyncio.open_connection(host, int(port), ssl=tls)

    async def send(self, data):
        """Send ``data`` over a new connection; return everything that is answered."""
        reader, writer = await self.open()
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def probe(self, *, verify=True):
        scheme = "http" if verify is True else "https"
        async with httpx.AsyncClient(verify=verify) as http:
            return (await http.get(f"{scheme}://{self.address}/livez")).status_code


@contextlib.asynccontextmanager
async def serving(**settings):
    limits = ClientLimits(CLOCK.now)
    async with asyncio.TaskGroup() as tasks:
        server = await serve(
            Settings(id="a", http_listen="127.0.0.1:0", **settings),
            role_of=lambda: types.SimpleNamespace(state="standby"),
            view=View(leads("b")),
            registry=CollectorRegistry(),
            limits=limits,
            tasks=tasks,
        )
        yield Server(server, limits)
        await server.close()


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x: " + b"a" * (20 << 20) + b"\r\n\r\n",
        GET + b"".join(b"x%d: a\r\n" % number for number in range(HEADERS_MAX)) + b"\r\n",
        b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        GET + b"x" * (HEAD_BYTES_MAX + 1),
    ],
    ids=["value", "headers", "path", "name"],
)
async def test_a_head_above_the_limit_is_refused(head):
    """Its connection ends, and the next one is served; the time does not depend on its size."""
    async with serving() as server:
        before_s = time.thread_time()
        await server.send(head)
        took_s = time.thread_time() - before_s
        assert await server.probe() == 200

    assert {"http_head", "http_invalid"} & server.limits.recent().keys()
    assert took_s < 1.0  # sending twenty megabytes included: the client is in this thread too


async def test_a_head_of_the_largest_size_is_answered():
    """Whole, and in packets of a few bytes."""
    padding = b"x: " + b"a" * (HEAD_BYTES_MAX - len(GET) - 7 - 19) + b"\r\n"
    head = GET + b"Connection: close\r\n" + padding + b"\r\n"
    assert len(head) == HEAD_BYTES_MAX
    async with serving() as server:
        assert (await server.send(head)).startswith(b"HTTP/1.1 200")
        reader, writer = await server.open()
        for start in range(0, len(head), 500):
            writer.write(head[start : start + 500])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


CHUNKED = b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"0\r\nx: " + b"a" * (20 << 20),
        b"0\r\n" + b"x: y\r\n" * (1 << 20),
        b"1;" + b"a" * (20 << 20),
    ],
    ids=["trailer", "trailers", "extension of a chunk"],
)
async def test_what_a_chunked_body_has_beside_its_data_is_limited(body):
    """The parser joins a trailer again for each packet, as it does a header."""
    async with serving() as server:
        before_s = time.thread_time()
        await server.send(CHUNKED + body)
        took_s = time.thread_time() - before_s
        assert await server.probe() == 200

    assert "http_framing" in server.limits.recent()
    assert took_s < 1.0  # sending twenty megabytes included: the client is in this thread too


async def test_a_chunked_body_of_any_size_is_read_and_its_trailers_are_not_headers():
    """What is before the limit stays valid, and the next request is answered as well."""
    async with serving() as server:
        chunks = b"1;a=b\r\nx\r\n" * 20_000
        trailers = b"0\r\n" + b"authorization: x\r\n" * 200 + b"\r\n"
        last = GET + b"Connection: close\r\n\r\n"
        answer = await server.send(CHUNKED + chunks + trailers + last)

    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.count(b"HTTP/1.1 200") == 1
    assert not server.limits.recent()


@pytest.fixture
def few(monkeypatch):
    """Twenty connections of an address at most."""
    monkeypatch.setattr(http_server, "CONNECTIONS_MAX", 40)


@pytest.mark.usefixtures("few")
async def test_a_probe_is_answered_beside_more_half_sent_requests_than_are_kept():
    """The oldest of them make room; a probe of the same address as well."""
    async with serving() as server:
        half_sent = []
        for _ in range(60):
            _, writer = await server.open()
            writer.write(GET)
            half_sent.append(writer)
        assert await server.probe() == 200
        for writer in half_sent:
            writer.close()

    assert server.limits.recent()["http_address_connections"].count >= 40


@pytest.mark.usefixtures("few")
async def test_a_probe_is_answered_beside_unfinished_handshakes(tmp_path):
    """A connection counts before its TLS handshake, which has a time limit."""
    made = Certificates.make(tmp_path)
    files = {"tls_cert": str(tmp_path / "server.pem"), "tls_key": str(tmp_path / "server.key")}
    trusted = ssl.create_default_context(cadata=made.ca.decode())
    async with serving(**files) as server:
        silent = [await server.open() for _ in range(30)]
        assert await server.probe(verify=trusted) == 200
        ended = [asyncio.wait_for(reader.read(), 20) for reader, _ in silent]
        for each in ended:
            with contextlib.suppress(ConnectionError):
                assert await each == b""
        for _, writer in silent:
            writer.close()


async def test_pipelined_requests_are_limited():
    """They would be queued, each with its state, before the first answer is read."""
    async with serving() as server:
        await server.send((GET + b"\r\n") * (PIPELINED_MAX * 3))
        assert await server.probe() == 200

    assert "http_pipelined" in server.limits.recent()


async def test_invalid_requests_do_not_fill_the_log(caplog):
    """They are counted; one line tells of many."""
    async with serving() as server:
        with caplog.at_level(logging.WARNING):
            for _ in range(20):
                assert b" 400 " in await server.send(b"\x00\x01nonsense\r\n\r\n")

    assert server.limits.recent()["http_invalid"].count == 20
    assert [each.getMessage() for each in caplog.records if each.name != "asyncio"] == [
        "a client reached a limit"
    ]
