"""Services on hosts that are processes of this machine, and real managers that die meanwhile."""

from __future__ import annotations

import contextlib
import errno
import itertools
import sys

import pytest

from mgr.clock import CLOCK
from tests.support import process
from tests.support.agents import Hosts
from tests.support.orchestrated import SETTINGS, Orchestrated, wait


@pytest.fixture
def orchestrated(start, tmp_path):
    """Three managers and as many hosts as asked for, which all have joined."""
    with contextlib.ExitStack() as running:

        def started(count, names=("a", "b", "c")):
            cluster = start(names=names, **SETTINGS)
            hosts = Hosts(count, cluster.hosts, tmp_path / "hosts")
            found = Orchestrated(cluster, hosts)
            found.enable()
            running.enter_context(hosts)
            running.callback(lambda: sys.stderr.write(hosts.logs()))
            found.joined(count)
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
    forged = it.cluster.run("tell", f"host.{daemon['hostname']}", "orders", "apply")
    assert forged.retval == -errno.EPERM
    records = it.cluster.run("audit", "ls", "--command=tell", "--outcome=ok").text
    assert f"host.{daemon['hostname']}" in records, records
    it.orch("rm", "web")
    wait(lambda: "web" not in it.services(), "the service to be gone")
    assert not any(host.pids() for host in it.hosts.each)


HOSTS = 10
SIZES = {"web": 5, "db": 3, "log": HOSTS}
"""Daemons of each service; the last one has one on every host."""
STABLE = dict.fromkeys(SIZES, "stable")


class Scenario:
    """What happens to ten hosts. The active is killed in the middle of each step."""

    def __init__(self, it):
        self.it = it
        self.hosts = it.hosts
        self.rows = []

    def text(self, version, *, more="", names=tuple(SIZES)):
        """Specifications of these services in one version."""
        return "\n---\n".join(
            self.hosts.specification(
                name,
                more=more,
                placement={} if name == "log" else {"count": SIZES[name]},
                environment={"VERSION": version},
                max_unavailable=2,
            )
            for name in names
        )

    def running(self, service=""):
        """Name and revision of every daemon's process, of one service or all."""
        found = []
        for host in self.hosts.each:
            for pid in host.pids():
                if process.command_line(pid)[:1] == ["/bin/sh"]:
                    environment = process.environment(pid)
                    found.append((environment["MGR_DAEMON"], environment["MGR_DAEMON_REVISION"]))
        return sorted(pair for pair in found if pair[0].startswith(service))

    def step(self, what, act, end, **states):
        """Do something, kill the active, and wait for ``states`` and for ``end``."""
        before, begun = len(self.hosts.starts()), CLOCK.now()
        act()
        self.it.kill_active()
        wait(end, what)
        self.it.arrived(**states)
        assert self.hosts.twice() == ""
        started = len(self.hosts.starts()) - before
        self.rows.append((what, started, CLOCK.now() - begun))

    def counts(self, **sizes):
        """Whether so many daemons of each service run."""
        return all(len(self.running(f"{name}.")) == size for name, size in sizes.items())

    def apply(self, *words, **fields):
        """Apply ``text``."""
        return lambda: self.it.orch("apply", text=self.text(*words, **fields))

    def host_of(self, service):
        """The host of the first daemon of a service."""
        name, _ = self.running(f"{service}.")[0]
        return self.hosts.named(name.partition(".")[2].rpartition("-")[0])

    def revisions(self, service):
        """The revisions that run of one service."""
        return {revision for _, revision in self.running(f"{service}.")}


@pytest.mark.timeout(1800)
def test_ten_hosts_through_every_fault(orchestrated):
    """Nothing runs twice, no order of an old term is applied, and the end is as specified."""
    it = orchestrated(HOSTS)
    run, hosts = Scenario(it), it.hosts
    it.cluster.run("config", "set", "mgr", "mgr/agents/host_grace", "40")
    it.cluster.run("config", "set", "mgr", "mgr_stats_period", "1")

    run.step("apply three services", run.apply("1"), lambda: run.counts(**SIZES), **STABLE)
    starts = hosts.starts()
    assert len(set(starts)) == len(starts)  # each was started once
    assert set(run.running()) <= set(starts)

    lost = run.host_of("web")
    run.step("kill a host", lost.kill, lambda: run.counts(web=5, db=3, log=HOSTS - 1))
    run.step("the host comes back", lost.start, lambda: run.counts(**SIZES), **STABLE)

    bad = run.apply("2", more="exit 1", names=("web",))
    run.step("a bad version", bad, lambda: it.services()["web"]["state"] == "rolled_back")
    wait(lambda: run.counts(web=5) and run.revisions("web") == {"1"}, "the way back")
    tried = {name for name, revision in hosts.starts() if (name[:4], revision) == ("web.", "2")}
    assert 1 <= len(tried) <= 2  # as many as the gate lets through

    good = run.apply("3", names=("web",))
    run.step("a good version", good, lambda: run.revisions("web") == {"3"}, web="stable")
    assert run.counts(web=5)

    drained = run.host_of("db")
    act = lambda: it.orch("host", "drain", drained.id)  # noqa: E731
    run.step("drain a host", act, lambda: not drained.pids(), **STABLE)
    assert run.counts(web=5, db=3, log=HOSTS - 1)

    assert refused_orders(hosts) == applied_out_of_term(hosts) == []
    for what, started, took_s in run.rows:
        sys.stderr.write(f"| {what} | {started} | {took_s:.1f} |\n")


def refused_orders(hosts):
    """Orders of an old term that reached an agent: none, as their managers are dead."""
    return [line for host in hosts.each for line in host.lines("orders of an old term refused")]


def applied_out_of_term(hosts):
    """Orders that an agent accepted in an older term than the one before."""
    found = []
    for host in hosts.each:
        terms = [line["term"] for line in host.lines("order accepted")]
        found += [pair for pair in itertools.pairwise(terms) if pair[0] > pair[1]]
    return found
