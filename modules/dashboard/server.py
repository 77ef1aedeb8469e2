"""Runs an ASGI application on an event loop of its own, in the thread that calls ``run``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from mgr_util import ServedTls, ServerConfigException, TlsFiles

HEAD_BYTES_MAX: Final = 16 * 1024
HEAD_S: Final = 5.0
"""A client that has not sent a whole request head by then is disconnected: it holds a slot."""
IDLE_S: Final = 15
CLOSE_S: Final = 1
"""How long unfinished answers may take when the server closes: a hand-over waits for this."""
CONNECTIONS_MAX: Final = 512
BACKLOG: Final = 128
TICK_S: Final = 0.5

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]
PEER: Final = "mgr.peer_certificate"
"""Key in the scope of a request: the client's certificate as DER bytes, if it presented one."""


class PageServer:
    """An HTTP server that runs until it is closed. ``run`` blocks; ``close`` is thread-safe."""

    def __init__(self, tls: TlsFiles | None = None) -> None:
        """Serve HTTPS if ``tls`` is given, else HTTP."""
        self._tls = tls
        self._lock = threading.Lock()
        self._closed = False
        self._stop: Callable[[], object] | None = None

    def run(
        self,
        application: Callable[[asyncio.Event], Application],
        host: str,
        port: int,
        *,
        ready: Callable[[int], None],
    ) -> None:
        """Serve ``application(stopping)`` until closed; streams end when ``stopping`` is set.

        ``ready(port)`` is called once clients can connect. Port 0 takes a free one.

        Raises:
            ServerConfigException: It cannot listen there, or a file of the certificate is unusable.

        """
        with _listen(host, port) as listener:
            asyncio.run(self._serve(application, listener, ready))

    def close(self) -> None:
        """Make ``run`` return, now or as soon as it is called. May be called more than once."""
        with self._lock:
            self._closed = True
            if self._stop is not None:
                self._stop()

    async def _serve(
        self,
        application: Callable[[asyncio.Event], Application],
        listener: socket.socket,
        ready: Callable[[int], None],
    ) -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                return
            self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        server = _Server(_config(application(stopping), self._tls), stopping)
        listener.listen(BACKLOG)
        try:
            # On a thread: it may store the address, which waits for etcd.
            announced = loop.run_in_executor(None, ready, listener.getsockname()[1])
            await server.serve(sockets=[listener])
            await announced
        finally:
            with self._lock:
                self._stop = None


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers, which ends as soon as it has to.

    The original looks ten times a second whether it should end, which is too late for a hand-over
    and costs processor time on an idle manager.
    """

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: this is not the main thread."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end; update the ``Date`` header meanwhile."""
        counter = 0
        while not self._stopping.is_set():
            await self.on_tick(counter)
            counter += int(10 * TICK_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._stopping.wait()


class _Protocol(H11Protocol):
    """HTTP/1.1 with a time limit for the head of each request; passes on the certificate."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate:
            self.app = cast("Any", _with_peer(cast("Application", self.app), certificate))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._waits_for_head() and self._head_timer is None:
            self._expect_head()
        super().data_received(data)
        if not self._waits_for_head():
            self._head_arrived()

    def send_400_response(self, msg: str) -> None:
        """Refuse what follows an accepted head; the answer to that head is not sent any more.

        Its application runs already, and would write to a connection that has ended.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # The head has its whole answer, and a second one would be taken for the next request's.
            self.transport.close()
            return
        super().send_400_response(msg)

    def _waits_for_head(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._give_up)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self._waits_for_head():
            self.transport.close()


def _with_peer(application: Application, certificate: bytes) -> Application:
    async def with_peer(scope: Scope, receive: Any, send: Any) -> None:
        scope[PEER] = certificate
        await application(scope, receive, send)

    return with_peer


def _without_ambiguous_requests(application: Application) -> Application:
    """Refuse requests with two lengths: a proxy in front may go by the other one."""

    async def refusing(scope: Scope, receive: Any, send: Any) -> None:
        names = {name for name, _ in scope.get("headers", ())}
        if not {b"content-length", b"transfer-encoding"} <= names:
            await application(scope, receive, send)
            return
        headers = [(b"connection", b"close"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 400, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return refusing


def _config(application: Application, tls: TlsFiles | None) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", _without_ambiguous_requests(application)),
        http=_Protocol,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=CLOSE_S,
        limit_concurrency=CONNECTIONS_MAX,
        ssl_context_factory=None if tls is None else lambda *_: _ssl_context(tls),
    )


def _ssl_context(tls: TlsFiles) -> ServedTls:
    try:
        return ServedTls(tls)
    except OSError as error:
        raise ServerConfigException(
            f"cannot use tls_cert {tls.certificate!r} with tls_key {tls.key!r}"
            f"{f' and tls_ca {tls.ca!r}' if tls.ca else ''}: {error}"
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on what is accepted. Without it the second
    # write of an answer would wait 40 ms for the acknowledgement of the first.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.settimeout(0)
    except OSError as error:
        listener.close()
        raise ServerConfigException(
            f"cannot listen on {host} port {port}: {error.strerror or error}; the option "
            "server_port sets another one, also for one manager (mgr/dashboard/ID/server_port)"
        ) from None
    return listener
