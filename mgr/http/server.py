"""Runs the server of the manager's own HTTP port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry

from mgr.errors import CannotListenError
from mgr.host.cluster_view import ClusterView
from mgr.host.role import Role
from mgr.http.app import HttpPages
from mgr.settings import Settings, advertised_address, split_address

BACKLOG: Final = 1024
IDLE_S: Final = 30
"""A kept-alive connection without a request is closed after this."""
CLOSE_S: Final = 1
"""How long unfinished answers may take when the server closes."""
CONNECTIONS_MAX: Final = 1000


class _Server(uvicorn.Server):
    """Uvicorn on the process's own loop: it must not install signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


class HttpServer:
    """A running server. ``address`` is the one published to clients, with the port in use."""

    def __init__(self, server: uvicorn.Server, address: str, task: asyncio.Task[None]) -> None:
        """Made by ``serve``."""
        self.address = address
        self._server = server
        self._task = task

    async def close(self) -> None:
        """Stop listening and close idle connections; unfinished answers get 1 s to finish."""
        self._server.should_exit = True
        await asyncio.wait([self._task])


async def serve(
    settings: Settings,
    *,
    role_of: Callable[[], Role],
    view: ClusterView,
    registry: CollectorRegistry,
    tasks: asyncio.TaskGroup,
) -> HttpServer:
    """Listen on ``settings.http_listen``; the server runs in ``tasks`` until closed.

    Raises:
        CannotListenError: The address cannot be bound; the message names it.

    """
    listener = _bind(settings.http_listen)
    pages = HttpPages(
        settings.id,
        settings.cluster,
        role_of=role_of,
        view=view,
        registry=registry,
        fresh_s=settings.lease_ttl_s,
    )
    config = uvicorn.Config(
        pages.application(),
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=CLOSE_S,
        limit_concurrency=CONNECTIONS_MAX,
    )
    config.load()  # imports for 0.1 s: done now, before the guard expects heartbeats
    server = _Server(config)
    task = tasks.create_task(server.serve(sockets=[listener]), name="http")
    port: int = listener.getsockname()[1]
    return HttpServer(
        server, advertised_address(settings.http_listen, settings.http_advertise, port), task
    )


def _bind(listen: str) -> socket.socket:
    host, port = split_address(listen, "http_listen")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListenError(f"http_listen: {listen}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listen before the server runs: clients then wait in the backlog and are not refused.
        listener.listen(BACKLOG)
        listener.settimeout(0)
    except OSError as error:
        listener.close()
        raise CannotListenError(
            f"http_listen: cannot listen on {listen}: {error.strerror}"
        ) from None
    return listener
