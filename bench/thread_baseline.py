"""The floor of the fleet benchmark: bare grpc.aio that parses every report and throws it away."""

# ruff: noqa: N802 - the method is named by the proto

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc

from mgr.rpc.v1 import cluster_pb2 as pb
from mgr.rpc.v1 import cluster_pb2_grpc


class Floor(cluster_pb2_grpc.ClusterServiceServicer):
    """Lets everybody in and keeps nothing."""

    async def Report(
        self, request_iterator: AsyncIterator[pb.ReportRequest], context: object
    ) -> AsyncIterator[pb.ReportResponse]:
        async for request in request_iterator:
            if request.WhichOneof("kind") == "open":
                yield pb.ReportResponse(configure=pb.Configure(term=1))


async def main() -> None:
    """Serve on a free port, print it, stop when standard input ends."""
    server = grpc.aio.server(
        options=[
            # As the manager's: else pings and a crowd would end streams here and not there.
            ("grpc.max_concurrent_streams", 1000),
            ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.server.max_pending_requests", 20_000),
            ("grpc.server.max_pending_requests_hard_limit", 30_000),
        ]
    )
    cluster_pb2_grpc.add_ClusterServiceServicer_to_server(Floor(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
