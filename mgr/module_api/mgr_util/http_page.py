"""A small HTTP server for the page of a module, and the redirect that a standby answers with.

Ours, not ceph-mgr's: a module that uses it does not load in ceph-mgr.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mgr.module_api.mgr_util.address import ServerConfigException

RETRY_AFTER_S: Final = 1
"""A client should wait this long before it asks a standby that knows no active again."""
CLIENT_TIMEOUT_S: Final = 10
"""A connection is closed if its client is silent for this long: it holds a thread."""
CONNECTIONS_MAX: Final = 100
"""Limit of open connections: each has a thread. For a further one, the oldest without a complete
request is closed."""
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")

SECURITY_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every response, unless the module gives one of them another value."""

_NO_STORE: Final = {"Cache-Control": "no-store"}


class HttpReply(NamedTuple):
    """An HTTP response. A large body may be given in several pieces, which are sent in order."""

    status: int
    headers: Mapping[str, str]
    body: Sequence[bytes] = ()


def text_reply(
    status: int, text: str, *, html: bool = False, retry_after_s: int | None = None
) -> HttpReply:
    """Make a response of ``text``, plain or HTML, that must not be cached.

    It must not, because another manager may be active at the next request. ``retry_after_s`` adds
    the header ``Retry-After``.
    """
    content_type = f"text/{'html' if html else 'plain'}; charset=utf-8"
    retry = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return HttpReply(status, {"Content-Type": content_type, **retry, **_NO_STORE}, [text.encode()])


def redirect_to_active(active_uri: str, target: str) -> HttpReply:
    """Make the response of a standby to a request for ``target``.

    Redirects to the same path and query below ``active_uri``, which is what ``get_active_uri()``
    returns. If that is empty, no active is known: the response is 503 with ``Retry-After``. A host
    in ``target`` is ignored, so that no request decides where clients are sent.
    """
    if not active_uri:
        return text_reply(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "no manager is active yet\n",
            retry_after_s=RETRY_AFTER_S,
        )
    parts = _split(target)
    place = urlunsplit(("", "", parts.path.lstrip("/"), parts.query, ""))
    headers = {"Location": f"{active_uri.rstrip('/')}/{place}", **_NO_STORE}
    return HttpReply(HTTPStatus.TEMPORARY_REDIRECT, headers)


def request_path(target: str) -> str:
    """Return the path of a request, without its query; empty if ``target`` is malformed."""
    return _split(target).path


class HttpPage:
    """An HTTP server that runs until it is closed.

    ``run`` blocks: call it in ``serve``. ``close`` may be called from another thread: call it in
    ``shutdown``.
    """

    def __init__(
        self, answer: Callable[[str], HttpReply], *, methods: Collection[str] = METHODS
    ) -> None:
        """Answer each request with ``answer(target)``, which runs on a thread of the request.

        The target is the path and the query. Requests with other ``methods`` are answered 501.
        """
        self._answer = answer
        self._methods = methods
        self._lock = threading.Lock()
        self._closed = False
        self._stop_signal: socket.socket | None = None

    def run(
        self,
        host: str,
        port: int,
        *,
        ready: Callable[[int], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen and answer until closed; ``ready(port)`` is called once clients can connect.

        Port 0 takes a free one. With ``tls`` the page speaks https (``manager_tls``).

        Raises:
            ServerConfigException: The server cannot listen there; the text gives the reason.

        """
        stop_reader, stop_writer = socket.socketpair()
        with stop_reader, stop_writer:
            with self._lock:
                if self._closed:
                    return
                self._stop_signal = stop_writer
            try:
                with self._listen(host, port, tls) as server:
                    ready(server.server_port)
                    _serve_until(stop_reader, server)
            finally:
                with self._lock:
                    self._stop_signal = None

    def close(self) -> None:
        """Make ``run`` return, now or as soon as it is called. May be called more than once."""
        with self._lock:
            self._closed = True
            if self._stop_signal is not None:
                self._stop_signal.send(b".")

    def _listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> ThreadingHTTPServer:
        answer = self._answer

        class Handler(_Handler):
            def reply(self) -> HttpReply:
                return answer(self.path)

        for method in self._methods:
            setattr(Handler, f"do_{method}", Handler.send_reply)
        try:
            return _server(host, tls)((host, port), Handler)
        except OSError as error:
            raise ServerConfigException(
                f"cannot listen on {host} port {port}: {error.strerror or error}; the option "
                "server_port sets another one, also for one manager (mgr/MODULE/ID/server_port)"
            ) from None


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT_S
    server_version = "mgr"
    sys_version = ""

    def reply(self) -> HttpReply:
        raise NotImplementedError

    def send_reply(self) -> None:
        self.server.answering()  # type: ignore[attr-defined]  # it is a server of this file
        status, headers, body = self.reply()
        self.send_response(status)
        for name, value in SECURITY_HEADERS.items():
            if name not in headers:
                self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(sum(map(len, body))))
        self.end_headers()
        if self.command != "HEAD":
            for piece in body:
                self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's word
        """Log nothing: the library would write each request to standard error."""


def _split(target: str) -> SplitResult:
    try:
        return urlsplit(target)
    except ValueError:
        return SplitResult("", "", "", "", "")


class _Connections:
    """The open connections. Of too many, the oldest without a complete request is closed.

    So whoever opens a hundred and sends nothing keeps nobody out, as on the manager's own port.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Any, int] = {}
        self._open: set[Any] = set()
        self._of_thread = threading.local()

    def add(self, connection: Any) -> bool:
        """Add an accepted connection; return False if all that are open are being answered."""
        with self._lock:
            if len(self._open) >= CONNECTIONS_MAX and not self._close_oldest():
                return False
            self._open.add(connection)
            self._waiting[connection] = connection.fileno()
            return True

    def begin(self, connection: Any) -> None:
        """Note that this thread serves ``connection``."""
        self._of_thread.connection = connection

    def answering(self) -> None:
        """Note that the request of this thread is complete."""
        with self._lock:
            self._waiting.pop(self._of_thread.connection, None)

    def remove(self, connection: Any) -> None:
        """Remove a connection that is closed."""
        with self._lock:
            self._waiting.pop(connection, None)
            self._open.discard(connection)

    def _close_oldest(self) -> bool:
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        descriptor = self._waiting.pop(oldest)
        self._open.discard(oldest)
        # Its thread, which waits for bytes, finds the end of them and closes it.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as twin:
            twin.shutdown(socket.SHUT_RDWR)
        return True


def _server(host: str, tls: ssl.SSLContext | None) -> type[ThreadingHTTPServer]:
    connections = _Connections()

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # A slow client must not keep the module from stopping.
        daemon_threads = True

        def server_bind(self) -> None:
            # Not HTTPServer's: that resolves the host's own name, which may take seconds.
            TCPServer.server_bind(self)
            self.server_name = host
            self.server_port = self.server_address[1]

        def process_request(self, request: Any, client_address: Any) -> None:
            """Serve a connection on a thread of its own, or close it if there are too many."""
            if connections.add(request):
                super().process_request(request, client_address)
            else:
                self.shutdown_request(request)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            """Do the TLS handshake on that thread: the client may be slow."""
            accepted = request
            connections.begin(accepted)
            try:
                if tls is not None:
                    request.settimeout(CLIENT_TIMEOUT_S)
                    try:
                        request = tls.wrap_socket(request, server_side=True)
                    except OSError:  # no TLS, or gone
                        self.shutdown_request(request)
                        return
                super().process_request_thread(request, client_address)
            finally:
                connections.remove(accepted)

        def answering(self) -> None:
            """Note that the request of this thread is complete."""
            connections.answering()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Log nothing if the client closed the connection: that is no error of ours."""
            if not isinstance(sys.exception(), ConnectionError | TimeoutError | ssl.SSLError):
                super().handle_error(request, client_address)

    return Server


def _serve_until(stop_reader: socket.socket, server: ThreadingHTTPServer) -> None:
    # Not serve_forever(), which checks for a stop only every half second: a hand-over waits for
    # this.
    with selectors.DefaultSelector() as selector:
        selector.register(stop_reader, selectors.EVENT_READ)
        selector.register(server, selectors.EVENT_READ)
        while not any(key.fileobj is stop_reader for key, _ in selector.select()):
            server.handle_request()
