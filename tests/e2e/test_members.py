"""Programs and a host's agent, members of a real cluster, through the loss of its active."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from mgr.client import Daemon
from tests.support import process
from tests.support.cluster import wait_for

CRASH = {
    "crash_id": "2026-01-01_x",
    "timestamp": "2026-01-01T00:00:00.000000Z",
    "entity_name": "web.eu-1",
    "backtrace": ["main"],
}
AGENT = Path(sys.executable).with_name("mgr-agent")


@pytest.fixture
def agent(cluster, tmp_path):
    """An agent of the host ``x``, which watches managers and finds a crash."""
    report = tmp_path / "crashes/2026-01-01_x"
    report.mkdir(parents=True)
    (report / "meta").write_text(json.dumps(CRASH))
    (report / "done").touch()
    settings = tmp_path / "agent.toml"
    settings.write_text(f'crash_dir = "{report.parent}"\n[[watch]]\nprocess = "mgrd"\n')
    log = tmp_path / "agent.log"
    hosts = ",".join(cluster.hosts)
    command = [str(AGENT), "--hosts", hosts, "--id", "x", "--config", str(settings)]
    running = process.start(command, log=log)
    yield running
    process.end(running)
    sys.stderr.write(log.read_text())


def received(cluster, *words):
    """The answer of ``tell host.x``, once the host is there."""

    def probe():
        answer = cluster.run("tell", "host.x", *words)
        return answer if answer.retval == 0 else None

    return wait_for(probe, f"an answer of host.x to {words}")


def test_a_host_and_a_program_come_back_to_the_next_active(cluster, agent):
    """``kill -9`` of the active: neither is restarted, both answer through the successor."""
    first = cluster.settled()
    with Daemon("web", "eu-1", cluster.hosts, version="1.2") as daemon:
        daemon.command("ping", "Say pong")(lambda: "pong")
        requests = daemon.counter("requests")
        requests.inc(7)
        assert daemon.wait_joined()
        assert "kernel_version" in received(cluster, "facts").text

        first.signal(signal.SIGKILL, worker=True)

        wait_for(lambda: cluster.active().name != first.name, "a successor")
        assert "kernel_version" in received(cluster, "facts").text
        wait_for(lambda: cluster.run("tell", "web.eu-1", "ping").retval == 0, "web.eu-1")
        answer = daemon.execute("daemon ls")
        assert "web.eu-1" in answer.text
        assert agent.poll() is None
        assert daemon.joined

    def listed():
        found = cluster.run("daemon", "ls").text
        # The agent's second daemon comes back in its own time, and may not have been stored.
        return "web.eu-1" not in found and "process.mgrd@x" in found

    wait_for(listed, "the goodbye, and the agent's daemons")
    wait_for(lambda: CRASH["crash_id"] in cluster.run("crash", "ls").text, "the crash's report")
