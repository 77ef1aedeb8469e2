"""No stream outlives the right to it: entries, roles, tokens and certificates that end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from types import SimpleNamespace

import grpc
import pytest

from mgr.access.protection import Protection, encode
from mgr.access.tokens import encode as encode_token
from mgr.access.tokens import new_token
from mgr.cluster.maps import Map
from mgr.errors import NotAuthenticatedError, NotAuthorizedError
from mgr.rpc.revocation import CHECKED_AT_ONCE, RevocableStreams
from mgr.rpc.status import error_of
from mgr.rpc.v1 import cluster_pb2, command_pb2, manager_pb2
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub
from tests.integration.rpc.cluster import KEYS, cluster, until
from tests.support.certificates import Authority

CA = Authority()


@contextlib.asynccontextmanager
async def guarded(tmp_path, rights, **settings):
    """An active manager that asks for certificates, and channels to it."""
    async with (
        cluster("a", **CA.settings(tmp_path), **settings) as one,
        contextlib.AsyncExitStack() as channels,
    ):
        active = one.promote("a", 5)
        one["a"].view.rights.set(rights)

        async def channel(name="", address="", **names):
            tls = CA.tls(name, **names) if name else None
            credentials = grpc.ssl_channel_credentials(
                CA.pem, *((tls.key, tls.cert) if tls else (None, None))
            )
            made = grpc.aio.secure_channel(address or one["a"].address, credentials)
            return await channels.enter_async_context(made)

        yield one["a"], active, channel


async def ended(stream):
    """Read until the stream ends; the error that it ended with."""

    async def read_all():
        while await stream.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await read_all()
    return error_of(failed.value)


async def begun(channel, kind, name="host.db1"):
    """A stream of this kind, of which the first message has come."""
    if kind == "log":
        stream = ManagerServiceStub(channel).FollowLog(manager_pb2.FollowLogRequest())
    elif kind == "active":
        stream = ManagerServiceStub(channel).WatchActive(manager_pb2.WatchActiveRequest())
    elif kind == "maps":
        stream = ClusterServiceStub(channel).WatchMaps(cluster_pb2.WatchMapsRequest(prefix="r"))
    elif kind == "session":
        stream = CommandServiceStub(channel).Session()
        echo = command_pb2.ExecuteRequest(words=["echo", "x"])
        await stream.write(command_pb2.SessionRequest(id=1, execute=echo))
    else:
        stream = ClusterServiceStub(channel).Report()
        kind, _, ident = name.partition(".")
        opened = cluster_pb2.Open(type=kind, id=ident, incarnation=name)
        await stream.write(cluster_pb2.ReportRequest(open=opened))
    assert await stream.read() is not grpc.aio.EOF
    return stream


class WatchedMaps:
    """The maps of a role, as far as ``WatchMaps`` sees them: what is put reaches all watchers."""

    def __init__(self):
        self.watchers = []

    @contextlib.contextmanager
    def watch(self, _prefix):
        queue = asyncio.Queue()
        self.watchers.append(queue)
        try:
            yield SimpleNamespace(first=list, next=queue.get)
        finally:
            self.watchers.remove(queue)

    def put(self, text):
        for each in self.watchers:
            each.put_nowait(Map("racks", 1, text))


STREAMS = {
    "log": "allow r",
    "maps": 'allow command "map watch" with name=r',
    "report": "profile daemon",
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("change", ["removed", "less", "role"])
async def test_a_stream_ends_when_its_client_may_not_have_it_any_more(tmp_path, kind, change):
    """The client hears why; others that may have theirs go on."""
    caps = "role mine" if change == "role" else STREAMS[kind]
    rights = {"host.db1": caps, "host.db2": STREAMS[kind]}
    async with guarded(tmp_path, rights) as (manager, active, channel):
        manager.view.rights.put({KEYS.role("mine"): STREAMS[kind]})
        active.maps = WatchedMaps()
        theirs = await begun(await channel("host.db1"), kind)
        other = await begun(await channel("host.db2"), kind, "host.db2")
        manager.view.rights.put(
            {
                "removed": {KEYS.access_of("host.db1"): None},
                "less": {KEYS.access_of("host.db1"): "allow module hello r"},
                "role": {KEYS.role("mine"): "allow module hello r"},
            }[change]
        )
        error = await ended(theirs)
        active.log.add("a secret", name="x")
        active.maps.put('{"a secret": 1}')
        if kind in {"log", "maps"}:
            assert "a secret" in str(await other.read())
        else:
            assert [name for name, each in active.fleet.daemons.items() if each.stream] == [
                "host.db2"
            ]

    assert isinstance(error, NotAuthorizedError)
    assert "may not do" in str(error)


async def test_a_stream_that_nobody_reads_ends_as_well(tmp_path):
    """While a message is on its way that the client does not take."""
    async with guarded(tmp_path, {"host.db1": "allow r"}) as (manager, active, channel):
        active.maps = WatchedMaps()
        stream = await begun(await channel("host.db1"), "maps")
        for _ in range(20):
            active.maps.put("x" * 500_000)
        await until(lambda: active.maps.watchers[0].qsize() < 20)
        manager.view.rights.put({KEYS.access_of("host.db1"): "allow module hello r"})
        await until(lambda: not active.maps.watchers)
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await stream.read() is not grpc.aio.EOF:
                pass

    assert await stream.code() is not grpc.StatusCode.OK


@pytest.mark.parametrize("kind", ["session", "active", "log"])
async def test_every_stream_ends_with_the_token(tmp_path, kind):
    """Also those for which no capability is needed; a call that waits in a session as well."""
    ident, text, record = new_token("ada", lifetime_s=60, by="ops")
    rights = {"token:ada": "allow *"}
    async with guarded(tmp_path, rights, token_listen="127.0.0.1:0") as (manager, active, channel):
        manager.view.rights.put({KEYS.token(ident): encode_token(record)})
        plain = await channel(address=manager.server.token_address)
        with_token = _Bearer(plain, text)
        stream = await begun(with_token, kind)
        if kind == "session":
            wait = command_pb2.ExecuteRequest(words=["wait", "long"])
            await stream.write(command_pb2.SessionRequest(id=2, execute=wait))
            await until(lambda: active.begun)
        manager.view.rights.put({KEYS.token(ident): None})
        error = await ended(stream)

    assert isinstance(error, NotAuthenticatedError)
    assert str(error) == "the token was removed"
    assert active.cancelled == (["long"] if kind == "session" else [])


@pytest.mark.parametrize("held", [False, True])
async def test_a_stream_ends_with_the_certificate(tmp_path, held):
    """A connection may be older than the certificate with which it was made."""
    ops = {"ops": "allow *"}
    async with guarded(tmp_path, ops, grpc_hold_unacknowledged=held) as (_, _, channel):
        stream = await begun(await channel("ops", valid=dt.timedelta(seconds=2)), "log")
        error = await ended(stream)

    assert isinstance(error, NotAuthenticatedError)
    assert "certificate has expired" in str(error)


async def test_a_stream_ends_when_its_token_expires(tmp_path):
    """Nobody has to remove it."""
    ident, text, record = new_token("ada", lifetime_s=3, by="ops")
    rights = {"token:ada": "allow *"}
    async with guarded(tmp_path, rights, token_listen="127.0.0.1:0") as (manager, _, channel):
        manager.view.rights.put({KEYS.token(ident): encode_token(record)})
        plain = await channel(address=manager.server.token_address)
        error = await ended(await begun(_Bearer(plain, text), "log"))

    assert isinstance(error, NotAuthenticatedError)
    assert "expired" in str(error)


async def test_a_stream_without_a_name_ends_when_the_cluster_is_protected(tmp_path):
    """It began while nobody had to say who it is."""
    async with cluster("a") as one:
        one.promote("a", 5)
        async with grpc.aio.insecure_channel(one["a"].address) as channel:
            streams = [await begun(channel, kind) for kind in ("log", "session", "report")]
            one["a"].view.rights.put({KEYS.protection: encode(Protection(admin="ops"))})
            errors = [await ended(stream) for stream in streams]

    assert {type(error) for error in errors} == {NotAuthenticatedError}


async def test_the_port_for_tokens_takes_nobody_else(tmp_path):
    """Also in a cluster that was never protected: this port opens no door."""
    async with guarded(tmp_path, {}, token_listen="127.0.0.1:0") as (manager, active, channel):
        plain = await channel(address=manager.server.token_address)
        request = command_pb2.ExecuteRequest(words=["echo", "x"])
        for tried in (plain, _Bearer(plain, f"{'0' * 12}.{'a' * 43}"), _Bearer(plain, "x")):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await CommandServiceStub(tried).Execute(request)
            assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED

    assert active.requests == []


async def test_many_streams_are_checked_a_few_at_a_time():
    """Ten thousand daemons must not stop the event loop because one entry changed."""
    turns = 0

    class Nobody:
        def check_authenticated(self, caller):
            raise NotAuthenticatedError("nobody")

    def turn():
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    loop = asyncio.get_running_loop()
    streams, gone = RevocableStreams(Nobody()), []
    with contextlib.ExitStack() as stack:
        for _ in range(10 * CHECKED_AT_ONCE):
            stack.enter_context(streams.register(_Caller(), None, gone.append))
        loop.call_soon(turn)
        streams.check()
        await until(lambda: len(gone) == 10 * CHECKED_AT_ONCE)

    assert turns >= 9


class _Caller:
    expires_s = None


class _Bearer:
    """A channel whose calls show a token; not the client's own code."""

    def __init__(self, channel, text):
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {text}"),)

    def __getattr__(self, kind):
        make = getattr(self._channel, kind)

        def method(*arguments, **options):
            begin = make(*arguments, **options)
            return lambda *sent, **given: begin(*sent, metadata=self._metadata, **given)

        return method
