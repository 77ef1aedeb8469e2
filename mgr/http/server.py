"""Runs the server of the manager's own HTTP port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry

from mgr.addresses import advertised_address
from mgr.client_limits import ClientLimits
from mgr.host.cluster_view import ClusterView
from mgr.host.connections import IDLE_S, Acceptor, Connection, ConnectionTable, listen_at
from mgr.host.role import Role
from mgr.host.server_tls import ServerTls
from mgr.http.app import HttpPages
from mgr.http.protocol import LimitedProtocol
from mgr.settings import Settings

BACKLOG: Final = 1024
CONNECTIONS_MAX: Final = 1000
"""Limit of open connections; of one address, half as many."""
DESCRIPTORS_SHARE: Final = 4
"""No more than a fourth of the process's file descriptors are connections of this port."""
CLOSE_S: Final = 1
"""How long unfinished answers may take when the server closes."""
COUNTED: Final = ("Invalid HTTP request", "Unsupported upgrade", "No supported WebSocket")
"""How the log lines begin that uvicorn writes for each invalid request. ``ClientLimits`` counts
them instead: any client could fill the log."""


class _Server(uvicorn.Server):
    """Uvicorn on the process's own loop: it must not install signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


class HttpServer:
    """A running server. ``address`` is the one published to clients, with the port in use."""

    def __init__(
        self,
        server: uvicorn.Server,
        address: str,
        serving: asyncio.Task[None],
        accepting: asyncio.Task[None],
        listener: socket.socket,
    ) -> None:
        """Made by ``serve``."""
        self.address = address
        self._server = server
        self._serving = serving
        self._accepting = accepting
        self._listener = listener

    async def close(self) -> None:
        """Stop listening and close idle connections; unfinished answers get 1 s to finish."""
        self._accepting.cancel()
        self._server.should_exit = True
        await asyncio.wait([self._accepting])
        self._listener.close()
        await asyncio.wait([self._serving])


async def serve(  # noqa: PLR0913 - what a server is made of, each by name
    settings: Settings,
    *,
    role_of: Callable[[], Role],
    view: ClusterView,
    registry: CollectorRegistry,
    limits: ClientLimits,
    tasks: asyncio.TaskGroup,
    why_not_ready: Callable[[], str] = str,
    tls: ServerTls | None = None,
) -> HttpServer:
    """Listen on ``settings.http_listen``; the server runs in ``tasks`` until closed.

    ``why_not_ready`` returns why this manager is no standby yet; empty once it is. When the
    certificate in ``tls`` changes, new connections use it.

    Raises:
        CannotListenError: The address cannot be bound; the message names it.

    """
    listener = listen_at(settings.http_listen, "http_listen", BACKLOG)
    pages = HttpPages(
        settings.id,
        settings.cluster,
        role_of=role_of,
        view=view,
        registry=registry,
        fresh_s=settings.lease_ttl_s,
        why_not_ready=why_not_ready,
        certificates=bool(settings.tls_ca),
    )
    config = _configure(pages, settings)
    config.load()  # imports for 0.1 s: done now, before the guard expects heartbeats
    logging.getLogger("uvicorn.error").addFilter(_is_not_counted)
    server = _Server(config)
    most = min(CONNECTIONS_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // DESCRIPTORS_SHARE)
    table = ConnectionTable(
        asyncio.get_running_loop().time, limits, connections_max=most, address_max=most // 2
    )

    def protocol(connection: Connection) -> LimitedProtocol:
        return LimitedProtocol(config, server.server_state, connection, table, limits)

    acceptor = Acceptor(listener, table, protocol, config.ssl)
    if tls is not None:
        verify = ssl.VerifyMode(config.ssl_cert_reqs)
        tls.subscribe(lambda new: acceptor.use(new.server_context(verify)))
    port: int = listener.getsockname()[1]
    return HttpServer(
        server,
        advertised_address(settings.http_listen, settings.http_advertise, port),
        # Without sockets: the acceptor has them.
        tasks.create_task(server.serve(sockets=[]), name="http"),
        tasks.create_task(acceptor.run(), name="accept http"),
        listener,
    )


def _is_not_counted(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(COUNTED)


def _configure(pages: HttpPages, settings: Settings) -> uvicorn.Config:
    """Return the configuration of the server of ``pages``."""
    return uvicorn.Config(
        pages.application(),
        http="httptools",
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        # Asked for, not demanded: a probe has none.
        ssl_ca_certs=settings.tls_ca or None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if settings.tls_ca else ssl.CERT_NONE,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        # One second later than the table of connections, which closes an idle one at once.
        timeout_keep_alive=int(IDLE_S) + 1,
        timeout_graceful_shutdown=CLOSE_S,
    )
