"""A server that speaks etcd's protocol and gives answers that are rare from a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import grpc

from mgr.store import etcd3_stubs

RANGE = etcd3_stubs.method("KV", "Range")
TXN = etcd3_stubs.method("KV", "Txn")
WATCH = etcd3_stubs.method("Watch", "Watch")
CLUSTER_ID = 7
"""The cluster id in its answers."""


def header(revision: int, *, cluster_id: int = CLUSTER_ID) -> dict[str, int]:
    """The header of an answer."""
    return {"revision": revision, "cluster_id": cluster_id}


class FakeEtcd:
    """Use as ``async with FakeEtcd() as etcd``: an empty etcd, at ``revision``.

    What is put into ``say`` is sent to the open watch. Progress is answered while
    ``answers_progress``. Streams begin at ``watch_revision``, if that is set. ``writes`` are the
    transactions that came and were no question for the cluster's id; ``on_write`` is called
    before one is answered, with the error ``refusal`` if that is set.
    """

    def __init__(self, cluster_id: int = CLUSTER_ID) -> None:
        self.cluster_id = cluster_id
        self.revision = 10
        self.watch_revision: int | None = None
        self.writes: list[Any] = []
        self.on_write: Callable[[], None] = lambda: None
        self.refusal = ""
        self.answers_progress = True
        self.asked = asyncio.Event()
        self.say: asyncio.Queue[Any] = asyncio.Queue()
        self.created: list[Any] = []
        self.address = ""
        self._speaker: asyncio.Task[None] | None = None

    def progress(self) -> Any:
        """What answers a progress request."""
        return WATCH.response(header=self._header(), watch_id=-1)

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        handlers = {
            RANGE: grpc.unary_unary_rpc_method_handler(self._range, *_codecs(RANGE)),
            TXN: grpc.unary_unary_rpc_method_handler(self._txn, *_codecs(TXN)),
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
        return RANGE.response(header=self._header())

    async def _txn(self, request: Any, context: Any) -> Any:
        if request.success:
            self.writes.append(request)
            self.on_write()
            if self.refusal:
                await context.abort(grpc.StatusCode.NOT_FOUND, self.refusal)
        return TXN.response(header=self._header(), succeeded=True)

    def _header(self) -> dict[str, int]:
        return header(self.revision, cluster_id=self.cluster_id)

    def _created(self) -> dict[str, int]:
        if self.watch_revision is None:
            return self._header()
        return header(self.watch_revision, cluster_id=self.cluster_id)

    async def _watch(self, requests: AsyncIterator[Any], context: Any) -> None:
        # gRPC takes one message at a time for a stream.
        writing = asyncio.Lock()

        async def write(message: Any) -> None:
            async with writing:
                await context.write(message)

        async with asyncio.TaskGroup() as group:
            speaker = group.create_task(self._speak(write))
            # The newest stream alone is spoken to: one before it may not have ended yet.
            before, self._speaker = self._speaker, speaker
            if before is not None:
                before.cancel()
            async for request in requests:
                if request.HasField("create_request"):
                    self.created.append(request.create_request)
                    await write(WATCH.response(header=self._created(), created=True))
                else:
                    self.asked.set()
                    if self.answers_progress:
                        await write(self.progress())
            speaker.cancel()

    async def _speak(self, write: Callable[[Any], Awaitable[None]]) -> None:
        while True:
            await write(await self.say.get())


def _codecs(method: etcd3_stubs.Method) -> tuple[Any, Any]:
    return method.request.FromString, method.response.SerializeToString
