"""What a client with a certificate may do, by the name in it."""

from __future__ import annotations

import contextlib

import grpc
import pytest

from mgr.errors import NotAuthorizedError
from mgr.rpc import authorization, server
from mgr.rpc.status import error_of
from mgr.rpc.v1 import (
    certificate_pb2,
    cluster_pb2,
    cluster_pb2_grpc,
    command_pb2,
    manager_pb2,
    manager_pb2_grpc,
)
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from tests.integration.rpc.cluster import cluster
from tests.support.certificates import Authority
from tests.support.secured_etcd import Certificates

OPEN = {
    "ManagerService/GetStatus": "how else would a client find the active",
    "ManagerService/WatchActive": "how else would a client find the active",
    "CommandService/DescribeCommands": "what there is is no secret; what it does is",
    "CommandService/Execute": "asks by the command's perm",
    "CommandService/Session": "asks by each command's perm",
    "ClusterService/Report": "asks by the daemon that wants to join",
    "CertificateService/Join": "asks by the join token",
    "CertificateService/Renew": "asks by the certificate that is to be renewed",
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Certificates.make(tmp_path_factory.mktemp("pki"))


@contextlib.asynccontextmanager
async def guarded(pki, rights, *, demands=True, **settings):
    """An active manager with this table, and channels to it by a client's name."""
    settings |= pki.settings(mutual=demands)
    async with cluster("a", **settings) as one, contextlib.AsyncExitStack() as channels:
        active = one.promote("a", 5)
        one["a"].view.rights.set(rights)

        async def channel(name):
            tls = pki.tls_of(name)
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
            return await channels.enter_async_context(
                grpc.aio.secure_channel(one["a"].address, credentials)
            )

        yield active, channel


async def refused(call, code=grpc.StatusCode.PERMISSION_DENIED):
    """The error of a call that must fail for want of a capability, or of a name."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is code
    error = error_of(failed.value)
    assert isinstance(error, NotAuthorizedError)
    return str(error)


def test_every_call_asks_for_a_capability_or_is_open_for_a_reason():
    """A new call is not open because somebody forgot it."""
    files = (command_pb2, manager_pb2, cluster_pb2, certificate_pb2)
    services = [each for file in files for each in file.DESCRIPTOR.services_by_name.values()]
    calls = {f"/{service.full_name}/{m.name}" for service in services for m in service.methods}

    assert {service.full_name for service in services} == set(server.SERVICES)
    assert calls == set(authorization.ACCESS_REQUESTS) | {f"/mgr.rpc.v1.{name}" for name in OPEN}


@pytest.mark.parametrize("held", [False, True])
async def test_a_call_without_the_capability_does_nothing(pki, held):
    """The client gets the command that it stands for; with the capability it goes through."""
    rights = {"ops": "allow *", "monitor": "allow r"}
    async with guarded(pki, rights, grpc_hold_unacknowledged=held) as (_, channel):
        monitor, ops = await channel("monitor"), await channel("ops")
        request = manager_pb2.FailRequest(name="a")
        said = await refused(manager_pb2_grpc.ManagerServiceStub(monitor).Fail(request))
        done = await manager_pb2_grpc.ManagerServiceStub(ops).Fail(request)
        read = await cluster_pb2_grpc.ClusterServiceStub(monitor).ListDaemons(
            cluster_pb2.ListDaemonsRequest()
        )

    assert said == (
        "access denied: client 'monitor' may not do 'mgr fail' (needs rw): see 'mgrctl auth whoami'"
    )
    assert done.message == "a gives way to anyone"
    assert not read.daemons


async def test_a_capability_for_one_map_is_good_for_that_map(pki):
    """The name is compared, whichever way the map comes in."""
    rights = {"robot": 'allow command "map set" with name=racks'}
    async with guarded(pki, rights) as (active, channel):
        active.maps = None
        stub = cluster_pb2_grpc.ClusterServiceStub(await channel("robot"))
        said = await refused(stub.SetMap(cluster_pb2.SetMapRequest(name="roles", document=b"{}")))
        await refused(stub.GetMap(cluster_pb2.GetMapRequest(name="racks")))
        await refused(stub.RemoveMap(cluster_pb2.RemoveMapRequest(name="racks")))
        with pytest.raises(grpc.aio.AioRpcError) as passed:
            await stub.SetMap(cluster_pb2.SetMapRequest(name="racks", document=b"{}"))

    assert "may not do 'map set'" in said
    # It got as far as to the maps, which this pretended active does not have.
    assert passed.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_daemon_joins_with_the_capability_to(pki):
    """A certificate for one kind of daemon does not let another in."""
    rights = {"disk": 'allow command "daemon join" with type=osd', "monitor": "allow r"}

    async def join(name, kind):
        stream = cluster_pb2_grpc.ClusterServiceStub(await channel(name)).Report()
        await stream.write(
            cluster_pb2.ReportRequest(open=cluster_pb2.Open(type=kind, id="1", incarnation=name))
        )
        return await stream.read()

    async with guarded(pki, rights) as (active, channel):
        configured = await join("disk", "osd")
        said = await refused(join("disk", "rgw"))
        await refused(join("monitor", "osd"))
        known = sorted(active.fleet.daemons)

    assert configured.HasField("configure")
    assert "may not do 'daemon join'" in said
    assert known == ["osd.1"]


async def test_the_caller_of_a_command_is_its_certificates_name(pki):
    """So the dispatcher can ask; over a session as well as alone."""
    async with guarded(pki, {}) as (active, channel):
        stub = CommandServiceStub(await channel("ada"))
        await stub.Execute(command_pb2.ExecuteRequest(words=["echo", "x"]))
        session = stub.Session()
        await session.write(
            command_pb2.SessionRequest(
                id=1, execute=command_pb2.ExecuteRequest(words=["echo", "y"])
            )
        )
        await session.read()

    assert [(r.caller.name, r.caller.address) for r in active.requests] == [
        ("ada", "127.0.0.1")
    ] * 2


async def test_a_manager_without_a_ca_opens_nothing_that_is_protected(pki):
    """What its own settings say does not count: entries exist, and it cannot tell who asks."""
    async with guarded(pki, {"ops": "allow *"}, demands=False) as (active, channel):
        ops = await channel("ops")
        said = await refused(
            manager_pb2_grpc.ManagerServiceStub(ops).Fail(manager_pb2.FailRequest(name="a")),
            grpc.StatusCode.UNAUTHENTICATED,
        )
        await refused(
            CommandServiceStub(ops).Execute(command_pb2.ExecuteRequest(words=["echo", "x"])),
            grpc.StatusCode.UNAUTHENTICATED,
        )

    assert "demands a client certificate or a token" in said
    assert active.requests == []


async def test_a_name_is_read_from_the_certificate_and_not_from_c_strings(tmp_path):
    """``ops`` with a NUL and more behind it is not ``ops``, for no call at all."""
    ca = Authority()
    async with cluster("a", **ca.settings(tmp_path)) as one:
        active = one.promote("a", 5)
        one["a"].view.rights.set({"ops": "allow *", "*": "allow *"})

        async def execute(*names, **others):
            tls = ca.tls(*names, **others)
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
            async with grpc.aio.secure_channel(one["a"].address, credentials) as channel:
                stub = CommandServiceStub(channel)
                await stub.Execute(command_pb2.ExecuteRequest(words=["echo", "x"]))

        said = await refused(execute("ops\0evil"), grpc.StatusCode.UNAUTHENTICATED)
        await execute("ops", dns=["b.example.org"])
        await execute(dns=["ops"])
        await execute(uris=["spiffe://example.org/ops"])

    assert "control character" in said
    assert [r.caller.identities[0].entry for r in active.requests] == [
        "ops",
        "dns:ops",
        "uri:spiffe://example.org/ops",
    ]
