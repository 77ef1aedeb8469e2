"""A small HTTP server that stops at once when it is told to, and what it answers."""

from __future__ import annotations

import html
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from mgr_util import ServerConfigException

RETRY_AFTER_S: Final = 1
CLIENT_TIMEOUT_S: Final = 10
"""A client that says nothing for so long is hung up on: it holds a thread."""

_NO_STORE: Final = {"Cache-Control": "no-store"}


class Reply(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    headers: Mapping[str, str]
    body: str


def greeting(text: str, *, manager: str) -> Reply:
    """The page itself. Not to be cached: another manager may serve it the next moment."""
    body = (
        "<!doctype html><title>hello</title>"
        f"<h1>{html.escape(text)}</h1><p>served by manager {html.escape(manager)}</p>\n"
    )
    headers = {"Content-Type": "text/html; charset=utf-8", **_NO_STORE}
    return Reply(HTTPStatus.OK, headers, body)


def redirect_to_active(active_uri: str, target: str) -> Reply:
    """Where the page ``target`` really is: on the active manager, if there is one.

    Only the path and the query of ``target`` are taken: no request can say where others are sent.
    """
    if not active_uri:
        headers = {"Retry-After": str(RETRY_AFTER_S), **_NO_STORE}
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, headers, "no manager is active yet\n")
    headers = {"Location": f"{active_uri.rstrip('/')}/{_path_of(target)}", **_NO_STORE}
    return Reply(HTTPStatus.TEMPORARY_REDIRECT, headers, "")


def _path_of(target: str) -> str:
    try:
        asked = urlsplit(target)
    except ValueError:
        return ""
    return urlunsplit(("", "", asked.path.lstrip("/"), asked.query, ""))


class HttpPage:
    """Answers HTTP until closed. ``run`` blocks; ``close`` may be called from another thread."""

    def __init__(self, answer: Callable[[str], Reply]) -> None:
        """Send ``answer(path)`` to whoever asks; it is called on a thread for each request."""
        self._answer = answer
        self._lock = threading.Lock()
        self._closed = False
        self._stop_signal: socket.socket | None = None

    def run(self, host: str, port: int, *, ready: Callable[[int], None]) -> None:
        """Listen and answer until closed; ``ready`` is told the port once it can be used.

        Port 0 takes a free one.

        Raises:
            ServerConfigException: It cannot listen there; says why.

        """
        stop_reader, stop_writer = socket.socketpair()
        with stop_reader, stop_writer:
            with self._lock:
                if self._closed:
                    return
                self._stop_signal = stop_writer
            try:
                with self._listen(host, port) as server:
                    ready(server.server_port)
                    _serve_until(stop_reader, server)
            finally:
                with self._lock:
                    self._stop_signal = None

    def close(self) -> None:
        """Let ``run`` return, now or as soon as it is called. Twice does no harm."""
        with self._lock:
            self._closed = True
            if self._stop_signal is not None:
                self._stop_signal.send(b".")

    def _listen(self, host: str, port: int) -> ThreadingHTTPServer:
        answer = self._answer

        class Handler(_Handler):
            def reply(self) -> Reply:
                return answer(self.path)

        try:
            return _server(host)((host, port), Handler)
        except OSError as error:
            raise ServerConfigException(
                f"cannot listen on {host} port {port}: {error.strerror or error}"
            ) from None


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT_S
    server_version = "hello"
    sys_version = ""

    def reply(self) -> Reply:
        raise NotImplementedError

    def _send(self) -> None:
        status, headers, text = self.reply()
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _send  # noqa: N815 - looked up by these names

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

    return Server


def _serve_until(stop_reader: socket.socket, server: ThreadingHTTPServer) -> None:
    # Not serve_forever(), which looks up only every half second: a hand-over waits for this.
    with selectors.DefaultSelector() as selector:
        selector.register(stop_reader, selectors.EVENT_READ)
        selector.register(server, selectors.EVENT_READ)
        while not any(key.fileobj is stop_reader for key, _ in selector.select()):
            server.handle_request()
