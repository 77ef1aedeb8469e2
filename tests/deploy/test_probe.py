"""``mgr-probe`` asks the manager where its settings say that it listens, with TLS or without."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import sys
import threading

import pytest

from tests.support.secured_etcd import Certificates
from tests.support.tree import ROOT

PROBE = ROOT / "deploy" / "probe.py"


class Manager(http.server.BaseHTTPRequestHandler):
    """Is alive and not ready."""

    def do_GET(self):
        """Answer a probe."""
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()
        self.wfile.write(b"words")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def serve():
    """Start a manager's HTTP at an address; its port."""
    servers = []

    def start(host, certificates=None):
        server = http.server.ThreadingHTTPServer((host, 0), Manager)
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            folder = certificates.folder
            context.load_cert_chain(folder / "server.pem", folder / "server.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return server.server_address[1]

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join(5)


def ask(probe, **settings):
    """Run ``mgr-probe``; its status and what it said."""
    done = subprocess.run(
        [sys.executable, "-IS", PROBE, probe],
        env={f"MGR_{name.upper()}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("bound", "listens"),
    [("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")],
)
@pytest.mark.parametrize("tls", [False, True])
def test_it_asks_where_the_manager_listens(serve, tmp_path, bound, listens, tls):
    """Also at an address that is not loopback, and by https if the manager has a certificate."""
    certificates = Certificates.make(tmp_path) if tls else None
    settings = {"http_listen": f"{listens}:{serve(bound, certificates)}"}
    if certificates is not None:
        settings |= {"tls_dir": "x"} if bound == "127.0.0.2" else certificates.settings(mutual=True)

    assert ask("livez", **settings) == (0, "200 words\n")
    assert ask("readyz", **settings) == (1, "503 words\n")


def test_it_says_why_there_is_no_answer(serve):
    """One line, and a status that is not 0."""
    status, said = ask("livez", http_listen="127.0.0.1:1")

    assert (status, said.count("\n")) == (1, 1)
    assert "127.0.0.1:1" in said
    assert "refused" in said
