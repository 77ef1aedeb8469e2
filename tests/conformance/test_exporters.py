"""Modules of Ceph 16.2 that speak to others, on a real manager: real sockets, servers, requests."""

from __future__ import annotations

import socket
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller

from tests.support import process
from tests.support.cluster import Cluster, wait_for

SPEAKING = ("alerts", "influx", "prometheus", "telegraf")


@pytest.fixture(scope="module")
def running(pacific, etcd, tmp_path_factory):
    """One manager that finds these modules only."""
    folder = tmp_path_factory.mktemp("modules")
    for name in (*SPEAKING, "orchestrator"):
        (folder / name).symlink_to(pacific.modules / name)
    path = f"{folder},{pacific.module_path.split(',')[1]}"
    directory = tmp_path_factory.mktemp("managers")
    settings = {"names": ("a",), "module_path": path, "bundled_skip": "all"}
    with Cluster(directory, etcd.endpoints, **settings) as cluster:
        cluster.active(60)
        yield cluster


def configured(running, module, **options):
    """Set these options of the module, then enable it."""
    for name, value in options.items():
        words = ["config", "set", "mgr", f"mgr/{module}/{name}", str(value)]
        assert running.run(*words).retval == 0
    running.enable(module)


def test_alerts_sends_mail_to_a_server(running):
    """Health is not fine with one manager: that is what is told."""
    got = []

    class Kept:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
            got.append(envelope.content.decode())
            return "250 OK"

    server = Controller(Kept(), hostname="127.0.0.1", port=process.free_port())
    server.start()
    try:
        configured(
            running,
            "alerts",
            smtp_host="127.0.0.1",
            smtp_port=server.port,
            smtp_ssl="false",
            smtp_sender="mgr@example.org",
            smtp_destination="you@example.org",
        )
        assert running.run("alerts", "send").retval == 0
        mail = wait_for(lambda: got and got[-1], "a mail")
    finally:
        server.stop()

    assert "MGR_NO_STANDBY" in mail


def test_telegraf_sends_to_a_udp_socket(running):
    """In the line protocol, and it says that it sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        configured(running, "telegraf", address=f"udp://127.0.0.1:{receiver.getsockname()[1]}")
        sent = running.run("telegraf", "send")
        line = receiver.recv(65536).decode()

    assert sent.retval == 0, sent
    assert line.startswith("ceph_")


def test_influx_asks_and_writes_to_a_server(running):
    """Over HTTP, to the database that it is told."""
    asked = []

    class Influx(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path))
            body = b'{"results":[{}]}'
            self.send_response(204 if self.path.startswith("/write") else 200)
            self.send_header("Content-Type", "application/json")
            if not self.path.startswith("/write"):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not self.path.startswith("/write"):
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_):
            """Nothing: what was asked is kept."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Influx) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configured(
            running, "influx", hostname="127.0.0.1", port=server.server_port, username="u",
            password="p", verify_ssl="false",
        )  # fmt: skip
        try:
            wait_for(lambda: any("/query" in path for _, path in asked), "a question")
            assert running.run("influx", "send").retval == 0
        finally:
            running.run("mgr", "module", "disable", "influx")
            server.shutdown()


def test_prometheus_is_scraped(running):
    """On its own port, with the manager's health in it."""
    port = process.free_port()
    configured(running, "prometheus", server_addr="127.0.0.1", server_port=port)

    def scraped():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                return page.read().decode()
        except OSError:
            return ""

    assert "ceph_health_status" in wait_for(scraped, "metrics", 30)


def test_prometheus_of_a_standby_leads_to_the_active(pacific, etcd, tmp_path):
    """Its front page names the active's address; its metrics are empty, so nothing counts twice."""
    ports = {name: process.free_port() for name in ("a", "b")}
    folder = tmp_path / "modules"
    folder.mkdir()
    for name in ("prometheus", "orchestrator"):
        (folder / name).symlink_to(pacific.modules / name)
    path = f"{folder},{pacific.module_path.split(',')[1]}"
    settings = {"names": tuple(ports), "module_path": path, "bundled_skip": "all"}
    with Cluster(tmp_path, etcd.endpoints, **settings) as cluster:
        active = cluster.settled(60).name
        for name, port in ports.items():
            option = f"mgr/prometheus/{name}/server_port"
            assert cluster.run("config", "set", "mgr", option, str(port)).retval == 0
        configured(cluster, "prometheus", server_addr="127.0.0.1")
        [standby] = set(ports) - {active}

        def read(page):
            try:
                at = f"http://127.0.0.1:{ports[standby]}{page}"
                with urllib.request.urlopen(at, timeout=5) as answer:
                    return answer.read().decode(), answer.url
            except OSError:
                return None

        # It may be up before the active has published its address.
        wait_for(
            lambda: str(ports[active]) in "".join(read("/") or ()),
            "a front page that names the active",
            30,
        )
        assert read("/metrics")[0] == ""
