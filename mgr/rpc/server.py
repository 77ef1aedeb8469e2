"""The gRPC server of a worker. It is open from the start, as a standby and as the active."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mgr.addresses import advertised_address
from mgr.client_limits import ClientLimits
from mgr.clock import Clock
from mgr.host.cluster_view import ClusterView, not_active_error
from mgr.host.role import Role
from mgr.host.server_tls import ServerTls
from mgr.pki.signer import ManagerSigner
from mgr.rpc.arriving import ArrivingRequests
from mgr.rpc.authorization import Authorizer
from mgr.rpc.calls import Calls
from mgr.rpc.certificate import CertificateServicer
from mgr.rpc.cluster import ClusterServicer
from mgr.rpc.command import CommandServicer
from mgr.rpc.credentials import bind, connections_max
from mgr.rpc.edge import Edge, EdgeServer
from mgr.rpc.gated import CallGate, GateEnforcer
from mgr.rpc.health import HealthServicer
from mgr.rpc.join_server import JoinServer, TokenAuthorizer, serve_join
from mgr.rpc.limits import JoinLimits, StreamLimits
from mgr.rpc.local_server import LocalServer, methods_of
from mgr.rpc.manager import ManagerServicer, ServerIdentity
from mgr.rpc.open_port import LOOPBACK, OpenPort, open_port
from mgr.rpc.streams import Streams
from mgr.rpc.unread import UnreadAnswers
from mgr.rpc.v1 import (
    certificate_pb2,
    certificate_pb2_grpc,
    cluster_pb2,
    cluster_pb2_grpc,
    command_pb2,
    command_pb2_grpc,
    manager_pb2,
    manager_pb2_grpc,
)
from mgr.settings import Settings
from mgr.version import installed_version

SERVICES: Final = (
    command_pb2.DESCRIPTOR.services_by_name["CommandService"].full_name,
    manager_pb2.DESCRIPTOR.services_by_name["ManagerService"].full_name,
    cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"].full_name,
    certificate_pb2.DESCRIPTOR.services_by_name["CertificateService"].full_name,
)
"""Full names of our services, for ``grpc.health.v1`` and reflection."""
HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

KEEPALIVE_MS: Final = 10_000
PING_TIMEOUT_MS: Final = 2_000
"""A peer that does not answer a ping for this long counts as gone. gRPC's default is a minute."""
HANDSHAKE_MS: Final = 10_000
GRPC_SHARE: Final = 2
"""No more than this part of the process's file descriptors are connections of gRPC: a half."""
OPEN_SHARE: Final = 8
"""The same of connections to a port whose TLS is ours: each takes three file descriptors."""
CLIENT_PING_MS_MIN: Final = 4_000
"""Clients may ping every 5 s; with gRPC's default (5 min) they would be disconnected for that."""


class GrpcServer:
    """A running server.

    Attributes:
        address: The address published to clients, with the bound port.
        join_address: Where programs without a certificate join by token; empty: nowhere.
        token_address: Where clients with a token and no certificate reach it; empty: nowhere.

    """

    def __init__(  # noqa: PLR0913 - what it is made of, each by name
        self,
        server: grpc.aio.Server,
        address: str,
        health: HealthServicer,
        streams: Streams,
        *,
        opened: Mapping[str, OpenPort],
        join: JoinServer | None = None,
        local: LocalServer,
    ) -> None:
        """Made by ``serve``."""
        self.address = address
        self.join_address = join.address if join else ""
        self._join = join
        self._local = local
        self._opened = opened
        self.token_address = opened["token_listen"].address if "token_listen" in opened else ""
        self._server = server
        self._health = health
        self._streams = streams

    def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the name asks the question
        """Set the status of our services in ``grpc.health.v1``. At once; idempotent."""
        self._health.set_serving(serving=serving)

    async def close(self, grace_s: float) -> None:
        """Accept no new calls, let running ones finish for ``grace_s`` seconds, then cancel them.

        Streams end at once, UNAVAILABLE with the address of the new active if there is one; a
        session first answers the commands that it has accepted.
        """
        self._health.set_serving(serving=False)
        self._streams.end()
        for each in self._opened.values():
            await each.stop_accepting()
        if self._join is not None:
            await self._join.close(0)
        await self._local.close(grace_s)
        await self._server.stop(grace_s)
        for each in self._opened.values():
            each.close()


async def serve(  # noqa: PLR0913 - what a server is made of, each by name
    settings: Settings,
    *,
    role_of: Callable[[], Role],
    view: ClusterView,
    gate: CallGate,
    clock: Clock,
    incarnation: str = "",
    note_of: Callable[[], str] = str,
    limits: ClientLimits | None = None,
    tls: ServerTls | None = None,
    tasks: asyncio.TaskGroup | None = None,
    signer: ManagerSigner | None = None,
) -> GrpcServer:
    """Listen on ``settings.grpc_listen``, and on ``unix_socket``, whose requests run in ``tasks``.

    ``role_of`` is called for each request: a standby serves, later the active, gated by ``gate``.
    ``note_of`` gives the reason for its state; ``limits`` counts calls; ``signer`` signs for
    managers. ``tls`` is read from the files in ``settings`` unless given.

    Raises:
        CannotListenError: The address cannot be bound; the message names it.
        InvalidSettingError: The certificate cannot be used.

    """
    streams = Streams(lambda: not_active_error(view.leader(), settings.id))
    authorizer = _authorizer(settings, view)
    health = HealthServicer(SERVICES, streams, gate.accepts)
    enforcer = GateEnforcer(gate, clock, hold_s=settings.hold_s)
    limits = limits or ClientLimits(clock.now)
    total, unread = StreamLimits(limits, settings.grpc_streams_max), UnreadAnswers(limits)
    checks = (enforcer, total, unread, ArrivingRequests(limits))
    server = _make_server(settings, Edge(authorizer, *checks))
    commands = CommandServicer(role_of, clock, streams, authorizer, enforcer, unread)
    command_pb2_grpc.add_CommandServiceServicer_to_server(commands, server)
    manager = ManagerServicer(
        _identity(settings, incarnation),
        role_of=role_of,
        view=view,
        streams=streams,
        note_of=note_of,
        term_of=lambda: gate.term,
        caller_of=authorizer.caller_of,
    )
    manager_pb2_grpc.add_ManagerServiceServicer_to_server(manager, server)
    calls = partial(Calls, commands.execute, clock=clock)
    new = JoinLimits(clock.now, limits)
    _add_fleet(server, settings.id, role_of, view, streams, authorizer, calls, new)
    _add_health_and_reflection(server, health)
    joins, by_token = _add_certificates(server, settings, role_of, view, signer)
    opened = _open_ports(server, settings, tls := tls or ServerTls.of(settings), limits, tasks)
    address = _bind(server, settings, tls, opened)
    await server.start()
    edge = Edge(by_token, *checks)
    join = await serve_join(settings, joins, edge, tls, limits, tasks)
    local = LocalServer(
        methods_of(commands, manager, enforcer, unread), clock, total, unread, tasks
    )
    await local.listen(settings)
    return GrpcServer(server, address, health, streams, opened=opened, join=join, local=local)


def _make_server(settings: Settings, edge: Edge) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=_options(settings),
        # Of all connections, those included whose request has not arrived.
        maximum_concurrent_rpcs=2 * settings.grpc_streams_max,
    )
    return EdgeServer(server, edge)


def _identity(settings: Settings, incarnation: str) -> ServerIdentity:
    return ServerIdentity(settings.id, settings.cluster, installed_version(), incarnation)


def _authorizer(settings: Settings, view: ClusterView) -> Authorizer:
    made = Authorizer(
        view.access, certificates=bool(settings.tls_ca), encrypted=bool(settings.tls_cert)
    )
    view.follow_access(made.streams.check)
    return made


def _add_fleet(  # noqa: PLR0913, PLR0917 - what it is made of
    server: grpc.aio.Server,
    name: str,
    role_of: Callable[[], Role],
    view: ClusterView,
    streams: Streams,
    authorizer: Authorizer,
    calls: Callable[..., Calls],
    joins: JoinLimits,
) -> None:
    fleet = ClusterServicer(
        name,
        role_of=role_of,
        view=view,
        streams=streams,
        authorizer=authorizer,
        calls=calls,
        joins=joins,
    )
    cluster_pb2_grpc.add_ClusterServiceServicer_to_server(fleet, server)


def _add_certificates(
    server: grpc.aio.Server,
    settings: Settings,
    role_of: Callable[[], Role],
    view: ClusterView,
    signer: ManagerSigner | None,
) -> tuple[CertificateServicer, TokenAuthorizer]:
    """Add the service that signs certificates; return it, and what identifies its callers."""
    by_token = TokenAuthorizer(view.access, certificates=False, encrypted=True)
    certificates = CertificateServicer(settings, role_of, view, by_token.caller_of, signer)
    certificate_pb2_grpc.add_CertificateServiceServicer_to_server(certificates, server)
    return certificates, by_token


def _add_health_and_reflection(server: grpc.aio.Server, health: HealthServicer) -> None:
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection((*SERVICES, health_name, reflection.SERVICE_NAME), server)


def _bind(
    server: grpc.aio.Server,
    settings: Settings,
    tls: ServerTls | None,
    opened: Mapping[str, OpenPort],
) -> str:
    """Bind ``grpc_listen``, unless it is among the ``opened``; return the published address."""
    if (front := opened.get("grpc_listen")) is not None:
        return front.address
    port = bind(server, settings.grpc_listen, "grpc_listen", tls)
    return advertised_address(settings.grpc_listen, settings.grpc_advertise, port)


def _open_ports(
    server: grpc.aio.Server,
    settings: Settings,
    tls: ServerTls | None,
    limits: ClientLimits,
    tasks: asyncio.TaskGroup | None,
) -> Mapping[str, OpenPort]:
    """Bind the ports whose TLS is ours, and accept in ``tasks``; by the name of their setting."""
    # gRPC for Python demands certificates of all clients of a port or asks none of them for one.
    # So clients that have a token instead have a port of their own.
    wanted = {"token_listen": bool(settings.token_listen)}
    wanted["grpc_listen"] = settings.grpc_hold_unacknowledged
    if tls is None or tasks is None:
        return {}
    opened = {
        setting: open_port(
            getattr(settings, setting),
            setting,
            inner_port=server.add_insecure_port(f"{LOOPBACK}:0"),
            tls=tls,
            limits=limits,
            connections_max=connections_max(OPEN_SHARE),
            tasks=tasks,
            advertise=settings.grpc_advertise if setting == "grpc_listen" else "",
            clients_authenticate=setting == "grpc_listen",
        )
        for setting, is_wanted in wanted.items()
        if is_wanted
    }
    for each in opened.values():
        each.start(tasks)
    return opened


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        # Off: otherwise a second manager could share the port unnoticed and get half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.grpc_message_bytes_max),
        ("grpc.max_concurrent_streams", settings.grpc_streams_max),
        # A whole fleet may reconnect at once. By default gRPC rejects calls above a thousand.
        ("grpc.server.max_pending_requests", settings.grpc_streams_max),
        ("grpc.server.max_pending_requests_hard_limit", 2 * settings.grpc_streams_max),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_MS_MIN),
        ("grpc.keepalive_permit_without_calls", 1),
        # Whoever reaches the port can open connections; etcd and HTTP need descriptors as well.
        ("grpc.max_allowed_incoming_connections", connections_max(GRPC_SHARE)),
        # A connection that does not finish its handshake has a file descriptor for so long.
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        # gRPC applies its limits of metadata and streams to whoever has acknowledged them only.
        ("grpc.http2.settings_timeout", HANDSHAKE_MS),
    ]
