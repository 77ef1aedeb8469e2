"""A server that speaks etcd's protocol and says what no real etcd says at will."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import grpc

from mgr.store import etcd3_stubs

RANGE = etcd3_stubs.method("KV", "Range")
WATCH = etcd3_stubs.method("Watch", "Watch")


class FakeEtcd:
    """Use as ``async with FakeEtcd() as etcd``: an empty etcd, at ``revision``.

    What is put into ``say`` is sent to the open watch. Progress is answered while
    ``answers_progress``.
    """

    def __init__(self) -> None:
        self.revision = 10
        self.answers_progress = True
        self.asked = asyncio.Event()
        self.say: asyncio.Queue[Any] = asyncio.Queue()
        self.created: list[Any] = []
        self.address = ""

    def progress(self) -> Any:
        """What answers a progress request."""
        return WATCH.response(header={"revision": self.revision}, watch_id=-1)

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        handlers = {
            RANGE: grpc.unary_unary_rpc_method_handler(self._range, *_codecs(RANGE)),
            WATCH: grpc.stream_stream_rpc_method_handler(self._watch, *_codecs(WATCH)),
        }
        for method, handler in handlers.items():
            _, service, name = method.path.split("/")
            self._server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(service, {name: handler})]
            )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    async def _range(self, _request: Any, _context: object) -> Any:
        return RANGE.response(header={"revision": self.revision})

    async def _watch(self, requests: AsyncIterator[Any], context: Any) -> None:
        async with asyncio.TaskGroup() as group:
            speaker = group.create_task(self._speak(context))
            async for request in requests:
                if request.HasField("create_request"):
                    self.created.append(request.create_request)
                    header = {"revision": self.revision}
                    await context.write(WATCH.response(header=header, created=True))
                else:
                    self.asked.set()
                    if self.answers_progress:
                        await context.write(self.progress())
            speaker.cancel()

    async def _speak(self, context: Any) -> None:
        while True:
            await context.write(await self.say.get())


def _codecs(method: etcd3_stubs.Method) -> tuple[Any, Any]:
    return method.request.FromString, method.response.SerializeToString
