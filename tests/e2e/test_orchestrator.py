"""Services on hosts that are processes of this machine, and real managers that die meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
import sys

import pytest

from tests.support.agents import Hosts
from tests.support.cluster import wait_for

LIMIT_S = 60


class Orchestrated:
    """A cluster and its hosts."""

    def __init__(self, cluster, hosts):
        self.cluster = cluster
        self.hosts = hosts

    def orch(self, *words, text="", retval=0):
        """Run ``orch ...``; the answer's text."""
        with self.cluster.client() as client:
            answer = client.execute(["orch", *words], data=text.encode(), timeout_s=LIMIT_S)
        assert answer.retval == retval, answer
        return answer.text

    def services(self):
        """State by name."""
        found = json.loads(self.orch("ls", "--format=json"))
        return {each["service_name"]: each for each in found}

    def daemons(self, service):
        """Daemons by name."""
        found = json.loads(self.orch("ps", f"--service_name={service}", "--format=json"))
        return {each["daemon_name"]: each for each in found}

    def arrived(self, **states):
        """Wait until each service has arrived in its state, with all daemons."""

        def probe():
            found = self.services()
            return all(
                found.get(name, {}).get("state") == state
                and found[name]["running"] == found[name]["size"]
                for name, state in states.items()
            )

        wait_for(probe, f"services to be {states}: {self.services()}", LIMIT_S)

    def kill_active(self):
        """``kill -9`` the worker of the active."""
        self.cluster.active().signal(signal.SIGKILL, worker=True)


@pytest.fixture
def orchestrated(start, tmp_path):
    """Three managers and as many hosts as asked for, which all have joined."""
    with contextlib.ExitStack() as running:

        def started(count, names=("a", "b", "c")):
            cluster = start(names=names)
            cluster.settled(LIMIT_S)
            cluster.enable("orchestrator", "agents")
            hosts = running.enter_context(Hosts(count, cluster.hosts, tmp_path / "hosts"))
            running.callback(lambda: sys.stderr.write(hosts.logs()))
            found = Orchestrated(cluster, hosts)
            joined = lambda: len(json.loads(found.orch("host", "ls", "--format=json"))) == count  # noqa: E731
            wait_for(joined, "every host to join", LIMIT_S)
            return found

        yield started


@pytest.mark.timeout(300)
def test_a_specification_becomes_a_process(orchestrated):
    """Shown first, then started, on one of two hosts; gone when its service is removed."""
    it = orchestrated(2, names=("a",))
    web = it.hosts.specification("web", placement={"count": 1})

    plan = it.orch("apply", "--dry-run", text=web)
    assert "deploy" in plan
    assert it.hosts.starts() == []
    it.orch("apply", text=web)
    it.arrived(web="stable")

    [(name, daemon)] = it.daemons("web").items()
    assert daemon["status_desc"] == "ready"
    assert it.hosts.starts() == [(name, "1")]
    it.orch("rm", "web")
    wait_for(lambda: "web" not in it.services(), "the service to be gone")
    assert not any(host.pids() for host in it.hosts.each)
