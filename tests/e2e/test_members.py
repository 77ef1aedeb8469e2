"""Programs and a host's agent, members of a real cluster, through the loss of its active."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from mgr.client import Daemon
from tests.support import process
from tests.support.cluster import wait_for

AGENT = Path(sys.executable).with_name("mgr-agent")


@pytest.fixture
def agent(cluster, tmp_path):
    """An agent of the host ``x``, started as users do: one line."""
    log = tmp_path / "agent.log"
    command = [str(AGENT), "--hosts", ",".join(cluster.hosts), "--id", "x"]
    running = process.start(command, log=log)
    yield running
    process.end(running)
    sys.stderr.write(log.read_text())


def told(cluster, *words):
    """The answer of ``tell host.x``, once the host is there."""

    def look():
        answer = cluster.run("tell", "host.x", *words)
        return answer if answer.retval == 0 else None

    return wait_for(look, f"an answer of host.x to {words}")


def test_a_host_and_a_program_come_back_to_the_next_active(cluster, agent):
    """``kill -9`` of the active: neither is started anew, both answer through the successor."""
    first = cluster.settled()
    with Daemon("web", "eu-1", cluster.hosts, version="1.2") as daemon:
        daemon.command("ping", "Say pong")(lambda: "pong")
        requests = daemon.counter("requests")
        requests.inc(7)
        assert daemon.wait_joined()
        assert "kernel_version" in told(cluster, "facts").text

        first.signal(signal.SIGKILL, worker=True)

        wait_for(lambda: cluster.active().name != first.name, "a successor")
        assert "kernel_version" in told(cluster, "facts").text
        wait_for(lambda: cluster.run("tell", "web.eu-1", "ping").retval == 0, "web.eu-1")
        answer = daemon.execute("daemon ls")
        assert "web.eu-1" in answer.text
        assert agent.poll() is None
        assert daemon.joined

    wait_for(lambda: "web.eu-1" not in cluster.run("daemon", "ls").text, "the goodbye")
