"""A small HTTP server for one text, which may be large: it is sent in the pieces it is made of."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from mgr_util import ServerConfigException

CLIENT_TIMEOUT_S: Final = 10
"""A client that says nothing or takes nothing for so long is hung up on: it holds a thread."""
POLL_INTERVAL_S: Final = 0.1
"""How soon ``close`` is noticed."""
METRICS: Final = "/metrics"
_NO_STORE: Final = {"Cache-Control": "no-store"}
_HTML: Final = {"Content-Type": "text/html; charset=utf-8", **_NO_STORE}


class Reply(NamedTuple):
    """What is sent back."""

    status: int
    headers: Mapping[str, str]
    body: Sequence[bytes] = ()


def plain(status: int, text: str, **headers: str) -> Reply:
    """A line for people."""
    standard_headers = {"Content-Type": "text/plain; charset=utf-8", **_NO_STORE}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {**standard_headers, **more}, [text.encode()])


def index() -> Reply:
    """The front page."""
    body = f'<!doctype html><title>prometheus</title><a href="{METRICS}">metrics</a>\n'
    return Reply(HTTPStatus.OK, _HTML, [body.encode()])


def redirect_to_active(active_uri: str, path: str) -> Reply:
    """Where ``path``, of which there are two, is to be found: on the active, if there is one."""
    if not active_uri:
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, "no manager is active yet\n", Retry_After="1")
    headers = {"Location": active_uri.rstrip("/") + path, **_NO_STORE}
    return Reply(HTTPStatus.TEMPORARY_REDIRECT, headers)


class HttpPage:
    """Answers HTTP until closed. ``run`` blocks; ``close`` may be called from another thread."""

    def __init__(self, answer: Callable[[str], Reply]) -> None:
        """Send ``answer(path)``; it is called on a thread for each request."""
        self._answer = answer
        self._closed = False

    def run(self, host: str, port: int, *, ready: Callable[[int], None]) -> None:
        """Listen and answer until closed; ``ready`` is told the port once it can be used.

        Port 0 takes a free one.

        Raises:
            ServerConfigException: It cannot listen there; says why.

        """
        answer = self._answer

        class Handler(_Handler):
            def reply(self, path: str) -> Reply:
                return answer(path)

        try:
            server = _server(host)((host, port), Handler)
        except OSError as error:
            raise ServerConfigException(
                f"cannot listen on {host} port {port}: {error.strerror or error}"
            ) from None
        with server:
            server.timeout = POLL_INTERVAL_S
            ready(server.server_port)
            while not self._closed:
                server.handle_request()

    def close(self) -> None:
        """Let ``run`` return, now or as soon as it is called. Twice does no harm."""
        self._closed = True


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT_S
    server_version = "prometheus"
    sys_version = ""

    def reply(self, path: str) -> Reply:
        raise NotImplementedError

    def _send(self) -> None:
        try:
            path = urlsplit(self.path).path
        except ValueError:
            path = ""
        status, headers, body = self.reply(path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(sum(map(len, body))))
        self.end_headers()
        if self.command != "HEAD":
            for piece in body:
                self.wfile.write(piece)

    do_GET = do_HEAD = _send  # noqa: N815 - looked up by these names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's word
        """Say nothing: the library would write each request to standard error."""


def _server(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # A slow client must not keep the module from stopping.
        daemon_threads = True

        def server_bind(self) -> None:
            # Not HTTPServer's, which asks the name service who it is, for seconds if need be.
            TCPServer.server_bind(self)
            self.server_name = host
            self.server_port = self.server_address[1]

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of a client that hangs up: that is no event."""
            if not isinstance(sys.exception(), ConnectionError | TimeoutError):
                super().handle_error(request, client_address)

    return Server
