"""Servers that receive what modules send: a mail server, a socket, and a part of InfluxDB."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from tests.support import process
from tests.support.cluster import wait_for


@contextlib.contextmanager
def mailbox():
    """Yield the port of a mail server, and the mails that it received."""
    got = []
    connected = set()

    class MailSession(SMTP):
        def connection_made(self, transport):
            connected.add(self)
            super().connection_made(transport)

        def connection_lost(self, error):
            super().connection_lost(error)
            connected.discard(self)

    class MailServer(Controller):
        def factory(self):
            return MailSession(self.handler, **self.SMTP_kwargs)

    class MailHandler:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
            got.append(envelope.content.decode())
            return "250 OK"

    server = MailServer(MailHandler(), hostname="127.0.0.1", port=process.free_port())
    server.start()
    try:
        yield server.port, got
        # The module may send another mail at this moment, and ``stop`` leaves its socket open.
        wait_for(lambda: not connected, "the end of the module's last session")
    finally:
        server.stop()


@contextlib.contextmanager
def datagrams(path):
    """Yield a list that receives each datagram of a unix socket at once: its queue is short."""
    got = []

    def receive():
        with contextlib.suppress(OSError):
            while datagram := receiver.recv(65536):
                got.append(datagram.decode())

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        try:
            yield got
        finally:
            receiver.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextlib.contextmanager
def influx():
    """Yield the port of a database, and the requests it got: method, path, body."""
    asked = []

    class Influx(BaseHTTPRequestHandler):
        def do_GET(self):
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, sent.decode()))
            body = b"" if self.path.startswith("/write") else b'{"results":[{}]}'
            self.send_response(200 if body else 204)
            self.send_header("Content-Type", "application/json")
            if body:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_):
            """Log nothing: the requests are recorded."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Influx) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
