"""``grpc.health.v1``: reports whether the process lives and whether it serves our services now.

The servicer of grpcio-health-checking is not used: it changes its answer in a coroutine, so after
the gate closes it would answer SERVING until the event loop runs that coroutine. Here the change is
a plain call, made together with that of the gate. As the gate also closes by the clock, it is
checked before SERVING is sent.
"""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mgr.errors import MgrError
from mgr.rpc.edge import refuse
from mgr.rpc.streams import Streams
from mgr.waiting import Broadcast

Context = grpc.aio.ServicerContext[Any, Any]
Status = health_pb2.HealthCheckResponse.ServingStatus
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped base
    """Answers ``Check`` and ``Watch``. The empty name means the process and is always SERVING."""

    def __init__(
        self, services: Iterable[str], streams: Streams, accepts: Callable[[], bool]
    ) -> None:
        """Begin with every service NOT_SERVING; none is SERVING while ``accepts`` returns False."""
        self._status: dict[str, Any] = {"": SERVING} | dict.fromkeys(services, NOT_SERVING)
        self._changed = Broadcast()
        self._streams = streams
        self._accepts = accepts

    def set_serving(self, *, serving: bool) -> None:
        """Change the answer from this moment on, and notify the watchers."""
        for service in self._status.keys() - {""}:
            self._status[service] = SERVING if serving else NOT_SERVING
        self._changed.notify()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """See ``grpc.health.v1``."""
        status = self._now(request.service)
        if status == SERVICE_UNKNOWN:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r}"
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def List(
        self, _request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        """Refuse: nobody needs a list of these services."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "use Check or Watch")

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """See ``grpc.health.v1``: the state at once, then each change."""
        sent = None
        try:
            with self._streams.endable():
                while True:
                    changed = self._changed.next
                    status = self._now(request.service)
                    if status != sent:
                        sent = status
                        await context.write(health_pb2.HealthCheckResponse(status=status))
                    await changed.wait()
        except MgrError as error:
            await refuse(context, error)

    def _now(self, service: str) -> Any:
        status = self._status.get(service, SERVICE_UNKNOWN)
        return NOT_SERVING if service and status == SERVING and not self._accepts() else status
