"""Services on hosts that are processes of this machine, and real managers that die meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
import sys

import pytest

from mgr.clock import CLOCK
from tests.support import process
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


HOSTS = 10
SERVICES = ("web", "db", "log")


def snapshot(hosts):
    """The processes of all daemons, by name and revision: the daemon's own shell only."""
    found = []
    for host in hosts.each:
        for pid in host.pids():
            if process.command_line(pid)[:1] == ["/bin/sh"]:
                environment = process.environment(pid)
                found.append((environment["MGR_DAEMON"], environment["MGR_DAEMON_REVISION"]))
    return sorted(found)


@pytest.mark.timeout(900)
def test_ten_hosts_through_every_fault(orchestrated, record_property):
    """The active is killed in the middle of each; nothing runs twice, and the end is as specified."""
    it = orchestrated(HOSTS)
    cluster, hosts = it.cluster, it.hosts
    cluster.run("config", "set", "mgr", "mgr/agents/host_grace", "5")
    cluster.run("config", "set", "mgr", "mgr_stats_period", "1")
    sizes = {"web": 5, "db": 3, "log": HOSTS}
    rows = []

    def text(version, *, more="", names=SERVICES):
        documents = []
        for name in names:
            placement = {} if name == "log" else {"count": sizes[name]}
            one = hosts.specification(
                name,
                more=more,
                placement=placement,
                environment={"VERSION": version},
                max_unavailable=2,
            )
            documents.append(one)
        return "\n---\n".join(documents)

    def step(what, act, **states):
        """Do something, kill the active in the middle, and wait for the end of it."""
        before, begun = len(hosts.starts()), CLOCK.now()
        act()
        it.kill_active()
        it.arrived(**states)
        assert hosts.twice() == ""
        took_s = CLOCK.now() - begun
        rows.append((what, len(hosts.starts()) - before, took_s))

    stable = dict.fromkeys(SERVICES, "stable")
    step("apply three services", lambda: it.orch("apply", text=text("1")), **stable)
    first = snapshot(hosts)
    assert [name.partition(".")[0] for name, _ in first] == sorted(
        name for name, size in sizes.items() for _ in range(size)
    )
    assert sorted(hosts.starts()) == first

    lost = hosts.named(
        next(name for name, _ in first if name.startswith("web.")).split(".")[1][:-2]
    )
    lost_daemons = [pair for pair in first if f".{lost.id}-" in pair[0]]
    step("kill a host", lost.kill, **stable)

    def moved():
        names = [name.partition(".")[0] for name, _ in snapshot(hosts)]
        return names.count("web") == 5 and names.count("db") == 3 and names.count("log") == 9

    wait_for(moved, "the lost host's daemons to run elsewhere", LIMIT_S)
    step("its return", lost.start, **stable)
    wait_for(lambda: len(snapshot(hosts)) == 18, "its own daemons to be back", LIMIT_S)
    assert lost_daemons

    step(
        "a bad version: stops, goes back",
        lambda: it.orch("apply", text=text("2", more="exit 1", names=("web",))),
        web="rolled_back",
    )
    assert {rev for name, rev in snapshot(hosts) if name.startswith("web.")} == {"1"}
    # No more daemons were touched than the gate lets through.
    assert len({name for name, rev in hosts.starts() if (name[:4], rev) == ("web.", "2")}) <= 2

    step("a good version", lambda: it.orch("apply", text=text("3", names=("web",))), web="stable")
    assert {rev for name, rev in snapshot(hosts) if name.startswith("web.")} == {"3"}

    drained = next(name for name, _ in snapshot(hosts) if name.startswith("db.")).split(".")[1][:-2]
    step("drain a host", lambda: it.orch("host", "drain", drained), **stable)
    wait_for(lambda: not hosts.named(drained).pids(), "the drained host to be empty", LIMIT_S)

    final = snapshot(hosts)
    names = [name for name, _ in final]
    assert len(set(names)) == len(names) == 5 + 3 + 9
    assert hosts.twice() == ""
    for what, starts, took_s in rows:
        sys.stderr.write(f"| {what} | {starts} | {took_s:.1f} |\n")
        record_property(what, f"{starts} starts, {took_s:.1f} s")
