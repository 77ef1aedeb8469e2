"""A daemon is who its certificate says: it takes nobody's name, place or health codes."""

from __future__ import annotations

import contextlib

import grpc
import pytest

from mgr.cluster.daemon_record import DaemonRecord
from mgr.errors import NotAuthorizedError
from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from tests.integration.rpc.cluster import cluster, until
from tests.integration.rpc.reporting import Stream
from tests.support.certificates import Authority

CA = Authority()
RIGHTS = {
    "host.db1": "profile daemon",
    "host.db2": "profile daemon",
    "agents": "profile daemon name=host.*, profile daemon name=osd.*",
    "disks": "profile daemon name=osd.*",
    "ops": "allow *",
}


@contextlib.asynccontextmanager
async def guarded(tmp_path):
    """The fleet of a protected manager, and a way to open streams by a client's name."""
    async with cluster("a", **CA.settings(tmp_path)) as one, contextlib.AsyncExitStack() as stack:
        active = one.promote("a", 5)
        one["a"].view.rights.set(RIGHTS)

        async def stream(client):
            tls = CA.tls(client)
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
            channel = await stack.enter_async_context(
                grpc.aio.secure_channel(one["a"].address, credentials)
            )
            return Stream(ClusterServiceStub(channel).Report())

        yield active.fleet, stream


async def joins(stream, name, **more):
    kind, _, ident = name.partition(".")
    return await stream.open(kind, ident, **{"incarnation": f"{id(stream)}", **more})


async def refused(stream, name):
    """The error for a stream that must not be opened under ``name``."""
    kind, _, ident = name.partition(".")
    opened = pb.Open(type=kind, id=ident, incarnation=f"{id(stream)}")
    await stream.send(open=opened)
    error = await stream.refusal()
    assert isinstance(error, NotAuthorizedError)
    return str(error)


async def test_one_daemons_certificate_is_not_anothers(tmp_path):
    """It neither throws the real one out nor gets what is meant for it."""
    async with guarded(tmp_path) as (fleet, stream):
        real = await stream("host.db1")
        await joins(real, "host.db1")
        said = await refused(await stream("host.db2"), "host.db1")
        await refused(await stream("host.db2"), "osd.1")
        await joins(await stream("host.db2"), "unit.nginx@db2")
        await refused(await stream("host.db2"), "unit.nginx@db1")
        await real.settle()

        assert "may not do 'daemon join'" in said
        assert sorted(fleet.daemons) == ["host.db1", "unit.nginx@db2"]
        assert fleet.daemons["host.db1"].record.client == "host.db1"


async def test_a_name_in_use_is_left_to_who_uses_it(tmp_path):
    """A pattern allows a name, but not to take it from another client; its own name is its own."""
    async with guarded(tmp_path) as (fleet, stream):
        await joins(await stream("agents"), "host.db1")
        await joins(await stream("agents"), "osd.1")
        said = await refused(await stream("disks"), "osd.1")
        await joins(await stream("host.db1"), "host.db1")
        back = await refused(await stream("agents"), "host.db1")
        fleet.forget("osd.1")
        await joins(await stream("disks"), "osd.1")

        assert "osd.1 reports as client 'agents', and 'disks' may not take its place" in said
        assert "'mgrctl daemon rm osd.1' frees the name" in said
        assert "client 'host.db1'" in back
        assert fleet.daemons["osd.1"].record.client == "disks"


async def test_after_a_failover_a_name_is_still_its_clients(tmp_path):
    """The client is part of the stored record."""
    record = DaemonRecord(host="h", version="1", metadata={}, since="", client="agents")
    async with guarded(tmp_path) as (fleet, stream):
        fleet.expect({"osd.1": record})
        await refused(await stream("disks"), "osd.1")
        await joins(await stream("agents"), "osd.1")

        assert fleet.awaited == 0


@pytest.mark.parametrize("code", ["RECENT_CRASH", "OSD_DOWN", "HEALTH_OK", "HOSTS_DOWN"])
async def test_a_daemon_raises_no_health_code_of_others(tmp_path, code):
    """Its stream ends; what it reported before is kept."""
    metrics = pb.HealthMetrics(metrics=[pb.HealthMetric(type=code, value=1, summary="x")])
    own = pb.HealthMetrics(metrics=[pb.HealthMetric(type="HOST_HOT", value=1, summary="x")])
    async with guarded(tmp_path) as (fleet, stream):
        mine = await stream("host.db1")
        await joins(mine, "host.db1")
        await mine.report(health_metrics=own)
        await mine.settle()
        await mine.report(health_metrics=metrics)
        error = await mine.refusal()

        assert isinstance(error, NotAuthorizedError)
        assert "may not do 'daemon health'" in str(error)
        assert [each.code for each in fleet.daemons["host.db1"].metrics] == ["HOST_HOT"]


async def test_who_may_do_everything_may_report_anything(tmp_path):
    """And a goodbye is only ever that of the stream's own daemon."""
    metrics = pb.HealthMetrics(metrics=[pb.HealthMetric(type="OSD_DOWN", value=1, summary="x")])
    async with guarded(tmp_path) as (fleet, stream):
        await joins(await stream("host.db1"), "host.db1")
        ops = await stream("ops")
        await joins(ops, "web.eu-1")
        await ops.report(health_metrics=metrics)
        await ops.settle()
        await ops.send(close=pb.Close())
        await until(lambda: "web.eu-1" not in fleet.daemons)

        assert list(fleet.daemons) == ["host.db1"]
