"""Every finding of the security review, and its kind, sent to a cluster that must not notice.

The fixture ``target`` checks at the end that term, worker and normal load are untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import NamedTuple

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2

from mgr.rpc.v1 import cluster_pb2, command_pb2, manager_pb2
from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from mgr.rpc.v1.command_pb2 import ExecuteRequest, SessionRequest
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from tests.fuzz.mutate import Mutator
from tests.fuzz.parsers import EXECUTES, SESSIONS, STREAMED
from tests.hostile.conftest import QUOTA_BYTES
from tests.support.cluster import wait_for

KIB, MIB = 1 << 10, 1 << 20
GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"


class Method(NamedTuple):
    """One method of the server."""

    path: str
    client_streaming: bool
    server_streaming: bool


METHODS = [
    Method(f"/{service.full_name}/{each.name}", each.client_streaming, each.server_streaming)
    for file in (cluster_pb2, command_pb2, manager_pb2, health_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for each in service.methods
]

pytestmark = pytest.mark.timeout(300)


async def together(works):
    """Run coroutines at the same time; their results."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
    return [each.result() for each in running]


async def codes_of(calls):
    """The status of each call."""

    async def code(call):
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    return set(await together(map(code, calls)))


async def probes(target):
    """What the probes of a Kubernetes are answered."""
    host, port, tls = target.https
    async with httpx.AsyncClient(verify=tls, timeout=20) as http:
        return [
            (await http.get(f"https://{host}:{port}{path}")).status_code
            for path in ("/livez", "/readyz")
        ]


@pytest.mark.parametrize(
    "words",
    [["e" * 150_000], ["config-" * 20_000, "x"], ["a"] * 200_000, ["log", *["a"] * 200_000]],
    ids=["one long word", "two", "many words", "many words of a known command"],
)
async def test_words_without_permission_cost_nothing(target, words):
    """A1 and A4: a good certificate and no entry are enough to send them."""
    async with target.channel("nobody") as channel:
        execute = CommandServiceStub(channel).Execute
        request = ExecuteRequest(words=words)
        codes = await codes_of(execute(request, timeout=60) for _ in range(20))

    assert grpc.StatusCode.OK not in codes


async def test_large_messages_are_refused(target):
    """A5: fifteen at once, of 30 MB; and as many as are just allowed."""
    async with target.channel("agents") as channel:
        execute = CommandServiceStub(channel).Execute
        large = ExecuteRequest(words=["crash", "post"], input=b"[" * (30 * MIB))
        allowed = ExecuteRequest(words=["crash", "post"], input=b"[" * (MIB * 2 - KIB))
        assert await codes_of(execute(large, timeout=60) for _ in range(15)) == {
            grpc.StatusCode.RESOURCE_EXHAUSTED
        }
        await codes_of(execute(allowed, timeout=60) for _ in range(15))


@pytest.mark.parametrize("size", [20 * MIB, 4 * MIB])
async def test_a_large_head_of_http_is_refused(target, size):
    """A2: over HTTPS, which asks nobody for a certificate; finished or not."""

    async def send(ends):
        host, port, tls = target.https
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        with contextlib.suppress(OSError):
            writer.write(GET + b"x: " + b"a" * size + ends)
            await writer.drain()
            await reader.read()
        writer.close()

    await together(map(send, (b"\r\n\r\n", b"", b"\r\n")))

    assert await probes(target) == [200, 200]
    assert target.memory_bytes() < 400 * MIB


@pytest.mark.parametrize("path", ["/livez", "/"])
async def test_a_large_trailer_of_http_is_refused(target, path):
    """A2 by another way: what follows the last part of a chunked body was joined each time, too."""

    async def send(body):
        host, port, tls = target.https
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        with contextlib.suppress(OSError):
            writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode())
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n" + body)
            await writer.drain()
            await reader.read()
        writer.close()

    await together(map(send, (b"0\r\nx: " + b"a" * (20 * MIB), b"1\r\na\r\n" * MIB)))

    assert await probes(target) == [200, 200]
    assert target.memory_bytes() < 400 * MIB


async def test_probes_are_answered_beside_half_sent_requests(target):
    """A3 and A9: more than a thousand of them, and idle connections to both ports."""
    host, port, _ = target.https
    grpc_port = int(target.attacked.grpc_address.split(":")[1])
    opened = [await asyncio.open_connection(host, port) for _ in range(1100)]
    opened += [await asyncio.open_connection(host, grpc_port) for _ in range(300)]
    for _, writer in opened:
        writer.write(b"\x16\x03\x01\x02\x00")  # the beginning of a handshake
    assert await probes(target) == [200, 200]
    assert target.ask("status").retval == 0
    for _, writer in opened:
        writer.close()


async def test_regular_expressions_of_grants_are_linear(target):
    """A7: the client chooses the text."""
    async with target.channel("chooser") as channel:
        execute = CommandServiceStub(channel).Execute
        request = ExecuteRequest(words=["config", "get", "a" * 2000 + "1", "debug_mgr"])
        codes = await codes_of(execute(request, timeout=60) for _ in range(20))

    assert codes == {grpc.StatusCode.PERMISSION_DENIED}


async def test_no_client_commands_a_terminal_or_forges_a_line(target):
    """D1: by the cluster log, by a crash report, by a counter's description."""
    evil = "\x1b]0;owned\x07\x1b[2J\r\n2026-01-01 mgr.a [INF] forged line\u202e"
    target.ask("log", evil)
    report = {"crash_id": "evil", "timestamp": "2026-01-01 00:00:00.0", "entity_name": evil}
    target.ask("crash", "post", name="agents", data=json.dumps(report).encode())

    shown = [
        target.ask(*words).text
        for words in (
            ["log", "last"],
            ["crash", "ls"],
            ["health", "detail"],
            ["crash", "info", "evil"],
        )
    ]

    for text in shown:
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not [line for line in text.splitlines() if line.startswith("2026-01-01 mgr.a")]
    assert r"\x1b]0;owned" in shown[0]


async def test_a_daemon_that_breaks_a_rule_hears_which(target):
    """D3: at once after it was let in, while the answer to that is on its way."""
    async with target.channel("agents") as channel:
        stub = ClusterServiceStub(channel)

        async def twice(number):
            stream = stub.Report()
            opening = pb.ReportRequest(
                open=pb.Open(type="twice", id=f"{number}", host="h", incarnation="1")
            )
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await stream.write(opening)
                await stream.write(opening)
                while await stream.read() is not grpc.aio.EOF:
                    pass
            async with asyncio.timeout(30):
                return await stream.code()

        codes = await together(map(twice, range(30)))

    assert set(codes) == {grpc.StatusCode.INVALID_ARGUMENT}


async def test_refusals_and_cancelled_sessions_do_not_fill_the_log(target):
    """D4: no traceback, and few lines."""
    before = len(target.log())
    async with target.channel("nobody") as channel:
        stub = CommandServiceStub(channel)

        async def cancelled(number):
            session = stub.Session()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
                for each in range(5):
                    message = SessionRequest(id=each, execute=ExecuteRequest(words=["status"]))
                    await session.write(message)
                await asyncio.sleep(0.001 * number)
                session.cancel()
                await session.read()

        await together(map(cancelled, range(100)))
        request = ExecuteRequest(words=["status"])
        await codes_of(stub.Execute(request, timeout=60) for _ in range(500))
    host, port, tls = target.https
    for _ in range(50):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        writer.write(b"\x00 nonsense\r\n\r\n")
        await reader.read()
        writer.close()

    assert len(target.log()) - before < 20 * KIB


async def test_streams_of_one_caller_are_limited(target):
    """Each costs memory for as long as it is open."""
    async with target.channel("nobody", **{"grpc.max_concurrent_streams": 10_000}) as channel:
        stub = CommandServiceStub(channel)
        sessions = [stub.Session() for _ in range(600)]
        codes = []
        for session in sessions:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await session.write(SessionRequest(id=1, execute=ExecuteRequest(words=["status"])))
                await session.read()
            if session.done():
                codes.append(await session.code())
        for session in sessions:
            session.cancel()

    assert set(codes) <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.PERMISSION_DENIED}
    assert len(codes) >= 50
    wait_for(lambda: target.ask("status").retval == 0, "the cluster")


async def test_random_messages_do_no_harm(target):
    """Every method of every service, with bytes that are nearly right."""
    mutator = Mutator(seed=2026)
    samples = [*EXECUTES, *(each.SerializeToString() for each in (*SESSIONS, *STREAMED))]

    async def send(channel, method):
        data = [mutator.data(samples) for _ in range(3)]
        if method.client_streaming:
            call = channel.stream_stream(method.path)(iter(data), timeout=5)
            return await read_all(call)
        if method.server_streaming:
            return await read_all(channel.unary_stream(method.path)(data[0], timeout=2))
        return await codes_of([channel.unary_unary(method.path)(data[0], timeout=20)])

    async with target.channel("agents") as channel:
        for _ in range(20):
            await together(send(channel, method) for method in METHODS)

    assert target.ask("status").retval == 0


async def read_all(call):
    """Read what a stream sends, until it ends or its time is over."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        while await call.read() is not grpc.aio.EOF:
            pass


def test_memory_is_given_back(target):
    """After all that was sent above, some seconds later: a tenth more at most, give or take 5 %."""

    def grown():
        return target.memory_bytes() / target.memory_before

    with contextlib.suppress(TimeoutError):
        wait_for(lambda: grown() < 1.1, "the memory", 40)

    assert grown() < 1.15, target.memory_after


async def test_one_certificate_does_not_fill_etcd(target):
    """A6: daemons with large metadata, and crash reports, as fast as they are taken."""
    metadata = {"x": "y" * (15 * KIB)}
    async with target.channel("agents") as channel:
        stub = ClusterServiceStub(channel)

        async def join(number):
            stream = stub.Report()
            opening = pb.Open(
                type="fake", id=f"n{number}", host="h", incarnation="1", metadata=metadata
            )
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await stream.write(pb.ReportRequest(open=opening))
                await stream.read()
            stream.cancel()

        for start in range(0, 1500, 50):
            await together(map(join, range(start, start + 50)))
        execute = CommandServiceStub(channel).Execute
        for number in range(200):
            report = {
                "crash_id": f"{number}",
                "timestamp": "2026-01-01 00:00:00.0",
                "assert_msg": "x" * 50_000,
            }
            request = ExecuteRequest(words=["crash", "post"], input=json.dumps(report).encode())
            await codes_of([execute(request, timeout=60)])

    checks = json.loads(target.ask("health", "detail", format="json").text)["checks"]
    assert {"MGR_STORE_SPACE", "MGR_CLIENT_LIMIT"} & checks.keys()
    assert stored_bytes(target) < QUOTA_BYTES


def stored_bytes(target):
    """What the metrics of etcd say of its database; the managers see the same."""
    with httpx.Client() as http:
        text = http.get(f"http://{target.etcd[0]}/metrics").text
    found = [
        line for line in text.splitlines() if line.startswith("etcd_mvcc_db_total_size_in_use")
    ]
    return float(found[0].split()[1])
