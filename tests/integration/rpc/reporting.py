"""A daemon as its bytes are: a report stream driven by hand, without our client library."""

from __future__ import annotations

import contextlib

import grpc

from mgr.rpc.status import error_of
from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from mgr.rpc.v1.command_pb2 import ExecuteRequest, SessionRequest


class Stream:
    """One report stream; its messages are read with ``receive``."""

    def __init__(self, call):
        self.call = call
        self.sequence = 0

    async def open(self, kind="rgw", ident="a", **more):
        """Introduce itself; returns how it is to report."""
        more = {"host": "h1", "version": "1.0", "incarnation": "i1"} | more
        await self.send(open=pb.Open(type=kind, id=ident, **more))
        return (await self.receive()).configure

    async def declare(self, *counters, replace=True):
        await self.send(declare=pb.Declare(replace=replace, counters=counters))

    async def report(self, *values, **more):
        self.sequence += 1
        await self.send(report=pb.Report(sequence=self.sequence, values=values, **more))

    async def send(self, **kind):
        await self.call.write(pb.ReportRequest(**kind))

    async def receive(self):
        """The next message."""
        message = await self.call.read()
        assert message is not grpc.aio.EOF, await self.call.code()
        return message

    async def settle(self):
        """Return once everything that was sent has been taken."""
        ask = SessionRequest(id=1 << 40, execute=ExecuteRequest(words=["echo", "settled"]))
        await self.send(call=ask)
        assert (await self.receive()).answer.response.stdout == b"settled"

    async def refusal(self):
        """The error that ends the stream."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await self.call.read() is not grpc.aio.EOF:
                pass
        metadata = await self.call.trailing_metadata()
        return error_of(
            grpc.aio.AioRpcError(
                await self.call.code(),
                grpc.aio.Metadata(),
                metadata,
                details=await self.call.details(),
            )
        )

    async def end(self):
        """Go away without a word."""
        self.call.cancel()


@contextlib.asynccontextmanager
async def daemons(address, *, window=True):
    """Opens streams to ``address``, all over one connection.

    Without a ``window`` that grows by itself, it takes 64 KiB that are not read, and no more.
    """
    options = [] if window else [("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = ClusterServiceStub(channel)
        stub.stream = lambda: Stream(stub.Report())
        yield stub


def counter(name, kind=pb.COUNTER_KIND_GAUGE, group="rgw", **more):
    """A counter's declaration."""
    return pb.CounterDeclaration(group=group, name=name, kind=kind, priority=5, **more)
