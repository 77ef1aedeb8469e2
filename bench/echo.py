"""The reference of the command benchmark: bare grpc.aio, echoing the very same messages."""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import grpc

from mgr.rpc.v1 import command_pb2 as pb
from mgr.rpc.v1 import command_pb2_grpc


class Echo(command_pb2_grpc.CommandServiceServicer):
    """Answers every message with an empty success and looks at nothing."""

    async def Execute(self, request: pb.ExecuteRequest, context: object) -> pb.ExecuteResponse:
        return pb.ExecuteResponse()

    async def Session(
        self, request_iterator: AsyncIterator[pb.SessionRequest], context: object
    ) -> AsyncIterator[pb.SessionResponse]:
        async for request in request_iterator:
            yield pb.SessionResponse(id=request.id, response=pb.ExecuteResponse())


@contextmanager
def running() -> Iterator[tuple[int, str]]:
    """Run the echo as a process of its own; its id and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.echo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as echo:
        assert echo.stdout
        try:
            yield echo.pid, f"127.0.0.1:{int(echo.stdout.readline())}"
        finally:
            echo.communicate("")


async def main() -> None:
    """Serve on a free port, print it, stop when standard input ends."""
    server = grpc.aio.server()
    command_pb2_grpc.add_CommandServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
