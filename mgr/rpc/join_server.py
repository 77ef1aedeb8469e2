"""The gRPC server for clients without a certificate: it serves ``Join`` and nothing else.

A server of its own, not a second port of the other one: whatever is added there can never be
called from here.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc

from mgr.client_limits import ClientLimits
from mgr.host.server_tls import ServerTls
from mgr.rpc.authorization import Authorizer
from mgr.rpc.certificate import CertificateServicer
from mgr.rpc.credentials import connections_max
from mgr.rpc.edge import Edge, EdgeServer
from mgr.rpc.open_port import LOOPBACK, OpenPort, open_port
from mgr.rpc.v1 import certificate_pb2
from mgr.settings import Settings

MESSAGE_BYTES_MAX: Final = 32 << 10
STREAMS_MAX: Final = 16
CALLS_MAX: Final = 64
CONNECTIONS_SHARE: Final = 32
"""Part of the process's file descriptors that may be connections of this port."""
CONNECTIONS_MAX: Final = 256
"""And no more than these. Each takes three file descriptors."""
CONNECTION_AGE_MS: Final = 30_000
"""Whoever joins makes one call: a connection has no reason to stay."""
SETTING: Final = "join_listen"
_SERVICE: Final = certificate_pb2.DESCRIPTOR.services_by_name["CertificateService"].full_name

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
    ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_MS),
    ("grpc.max_connection_idle_ms", CONNECTION_AGE_MS),
    ("grpc.server.max_pending_requests", CALLS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", 2 * CALLS_MAX),
)


class JoinServer:
    """A running server; ``address`` is the published one."""

    def __init__(self, server: grpc.aio.Server, port: OpenPort) -> None:
        """Made by ``serve_join``."""
        self.address = port.address
        self._server = server
        self._port = port

    async def close(self, grace_s: float) -> None:
        """Accept no new calls, and let running ones finish for ``grace_s`` seconds."""
        await self._port.stop_accepting()
        await self._server.stop(grace_s)
        self._port.close()


async def serve_join(
    settings: Settings,
    servicer: CertificateServicer,
    edge: Edge,
    tls: ServerTls | None,
    limits: ClientLimits,
    tasks: asyncio.TaskGroup | None,
) -> JoinServer | None:
    """Listen on ``settings.join_listen``, and pass bytes on in ``tasks``.

    None if that is empty, or there is no certificate.

    Raises:
        CannotListenError: The address cannot be bound.

    """
    if not settings.join_listen or tls is None or tasks is None:
        return None
    most = min(CONNECTIONS_MAX, connections_max(CONNECTIONS_SHARE))
    bare = grpc.aio.server(
        options=[*_OPTIONS, ("grpc.max_allowed_incoming_connections", most)],
        maximum_concurrent_rpcs=CALLS_MAX,
    )
    server = EdgeServer(bare, edge)
    server.add_generic_rpc_handlers((_JoinOnly(servicer),))
    inner_port = server.add_insecure_port(f"{LOOPBACK}:0")
    port = open_port(
        settings.join_listen,
        SETTING,
        inner_port=inner_port,
        tls=tls,
        limits=limits,
        connections_max=most,
        tasks=tasks,
        advertise=settings.join_advertise,
    )
    await server.start()
    port.start(tasks)
    return JoinServer(server, port)


class TokenAuthorizer(Authorizer):
    """Lets every call pass: the join token that it carries authorizes it."""

    def check(self, method: str, request: Any, context: Any) -> None:
        """Pass."""


class _JoinOnly(grpc.GenericRpcHandler):
    """Serves one method."""

    def __init__(self, servicer: CertificateServicer) -> None:
        self._handler = grpc.unary_unary_rpc_method_handler(
            servicer.Join,
            request_deserializer=certificate_pb2.JoinRequest.FromString,
            response_serializer=certificate_pb2.JoinResponse.SerializeToString,
        )

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of ``Join``; None, which is UNIMPLEMENTED, for any other method."""
        return self._handler if handler_call_details.method == f"/{_SERVICE}/Join" else None
