"""``grpc.health.v1``: the process lives, and whether our services are served here, now.

Not the servicer of grpcio-health-checking: that one changes its answer in a coroutine, and
between the gate's shutting and the loop's next turn it would still say SERVING. Here the
change is one plain call, made together with the gate's; and since that shuts by the clock as
well, it is asked before SERVING is sent.
"""

# ruff: noqa: N802 - the methods are named by the proto

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mgr.errors import MgrError
from mgr.rpc.interceptor import refuse
from mgr.rpc.streams import Streams
from mgr.waiting import Broadcast

Context = grpc.aio.ServicerContext[Any, Any]
Status = health_pb2.HealthCheckResponse.ServingStatus
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped base
    """Answers and announces. The empty name means the process and is always SERVING."""

    def __init__(
        self, services: Iterable[str], streams: Streams, accepts: Callable[[], bool]
    ) -> None:
        """Begin with every service NOT_SERVING; none is served while ``accepts`` says False."""
        self._status: dict[str, Any] = {"": SERVING} | dict.fromkeys(services, NOT_SERVING)
        self._changed = Broadcast()
        self._streams = streams
        self._accepts = accepts

    def set_serving(self, *, serving: bool) -> None:
        """Change what is answered from this moment on, and tell the watchers."""
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
