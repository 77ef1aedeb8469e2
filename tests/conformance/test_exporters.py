"""Modules of Ceph 16.2 that speak to others, on a real manager: real sockets, servers, requests."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from mgr.client import Daemon
from tests.conformance.receivers import influx, mailbox
from tests.conformance.survey import IMPORTS_S
from tests.support import process
from tests.support.cluster import Cluster, wait_for

SPEAKING = ("alerts", "influx", "prometheus", "telegraf")


@pytest.fixture(scope="module")
def running(pacific, settings_for, etcd, tmp_path_factory):
    """One manager that finds these modules only."""
    settings = settings_for(pacific, *SPEAKING, "orchestrator")
    directory = tmp_path_factory.mktemp("managers")
    with Cluster(directory, etcd.endpoints, names=("a",), **settings) as cluster:
        cluster.active(IMPORTS_S)
        yield cluster


def configured(running, module, **options):
    """Set these options of the module, then enable it."""
    for name, value in options.items():
        words = ["config", "set", "mgr", f"mgr/{module}/{name}", str(value)]
        assert running.run(*words).retval == 0
    running.enable(module)


def test_alerts_sends_mail_to_a_server(running):
    """Health is not fine with one manager: that is what is told."""
    with mailbox() as (port, mails):
        configured(
            running,
            "alerts",
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_ssl="false",
            smtp_sender="mgr@example.org",
            smtp_destination="you@example.org",
        )
        assert running.run("alerts", "send").retval == 0
        mail = wait_for(lambda: mails and mails[-1], "a mail")

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
    """Over HTTP, to the database that it is told: what a daemon of the fleet counts."""
    with influx() as (port, asked), Daemon("rgw", "eu-1", running.hosts) as daemon:
        daemon.counter("requests", priority=8).inc(7)
        configured(
            running, "influx", hostname="127.0.0.1", port=port, username="u", password="p",
            verify_ssl="false",
        )  # fmt: skip

        def written():
            assert running.run("influx", "send").retval == 0
            lines = [body for _, path, body in asked if path.startswith("/write")]
            return next((line for line in lines if "ceph_daemon=rgw.eu-1" in line), "")

        try:
            line = wait_for(written, "a line about the daemon", 30)
        finally:
            running.run("mgr", "module", "disable", "influx")

    assert any(path.startswith("/query") for _, path, _ in asked)
    assert line.startswith("ceph_daemon_stats,")
    assert "value=7" in line


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
