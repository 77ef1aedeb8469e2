"""Services on a host with a real systemd, whose agent is the unit that we ship."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.request

import pytest

from mgr.agent.deploy.runtime import NAME_VARIABLE
from mgr.agent.deploy.settings import FOLDER
from tests.support import process
from tests.support.agents import lines_of
from tests.support.orchestrated import SETTINGS, Orchestrated, wait
from tests.support.systemd_host import SHIPPED, SystemdHost, unavailable

AGENT = SHIPPED.name
ODD = "a \"b\" 'c' \\ \\n %n %% $HOME ${HOME} `id` # ; é\nsecond line "
"""What a file of variables, a unit and a shell each read in ways of their own."""


@pytest.fixture
def it(start, tmp_path):
    """One manager and one host."""
    if why := unavailable():
        pytest.skip(f"SYSTEMD NOT TESTED: {why}")
    cluster = start(names=("a",), **SETTINGS)
    with contextlib.ExitStack() as running:
        programs = (sys.executable, "/bin/sh")
        host = SystemdHost("s1", cluster.hosts, tmp_path, programs)
        found = Orchestrated(cluster, host)
        found.enable()
        running.enter_context(host)
        running.callback(lambda: sys.stderr.write(host.log.read_text(errors="replace")[-9000:]))
        found.joined(1)
        yield found


class Web:
    """A service that serves a page, as a unit of systemd."""

    name = "web.s1-0"
    unit = f"mgr-{name}.service"

    def __init__(self, it, kind):
        self._it = it
        self._kind = kind
        self._port = process.free_port()

    def apply(self, page):
        """Have it serve ``page``."""
        command = [sys.executable, "-m", "http.server", str(self._port), "--bind", "127.0.0.1"]
        fields = {
            "service": "web", "kind": self._kind, "command": command, "files": {"page": page},
            "ports": [self._port], "probe": {"http": f"{self._port}/page", "every_s": 0.5},
            "environment": {"ODD": ODD}, "secrets": {"TOKEN": "token"},
            "resources": {"memory_mb": 200, "cpus": 0.9},
        }  # fmt: skip
        self._it.orch("apply", text=json.dumps(fields))

    def _page(self):
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self._port}/page"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        return ""

    def serves(self, page):
        """Wait until it serves ``page`` and is said to be well."""
        wait(lambda: self._page() == page, f"the page {page}")
        self._it.arrived(web="stable")
        assert self._it.hosts.units() == [self.unit]

    def pids(self):
        """Its processes."""
        return sorted(process.marked(NAME_VARIABLE, self.name))

    def kill(self):
        """End it without warning; what it was."""
        before = self.pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        return before

    def ends(self):
        """How it ended, each time, as its agents saw it."""
        return [
            line["how"]
            for line in lines_of(self._it.hosts.log, "deployed daemon failed, trying again")
        ]


def kill_agent(host):
    """End the agent without warning; its unit has another one started."""
    before = host.show(AGENT, "MainPID")
    host.run("systemctl", "kill", "--signal=SIGKILL", AGENT)
    wait(lambda: host.show(AGENT, "MainPID") not in {"0", before}, "another agent")


@pytest.mark.parametrize("kind", ["systemd", "process"])
@pytest.mark.timeout(600)
def test_a_unit_is_started_replaced_restarted_adopted_and_removed(it, kind):
    """It is one unit at any time, outlives its agent, and nothing is left behind."""
    web, host = Web(it, kind), it.hosts
    it.orch("secret", "set", "token", text=ODD)
    web.apply("one")
    web.serves("one")
    [pid] = web.pids()
    environment = process.environment(pid)
    assert (environment["ODD"], environment["TOKEN"]) == (ODD, ODD)
    assert environment["HOME"] == f"{FOLDER}/{web.name}"
    assert host.show(web.unit, "MemoryMax") == str(200 << 20)
    assert host.show(web.unit, "CPUQuotaPerSecUSec") == "900ms"

    web.apply("two")
    web.serves("two")
    assert process.gone(pid)

    killed = web.kill()
    wait(web.ends, "the agent to see its end")
    web.serves("two")
    assert (web.pids() != killed, web.ends()) == (True, ["killed by SIGKILL"])

    running = web.pids()
    kill_agent(host)
    wait(lambda: lines_of(host.log, "deployed daemon found running"), "the next agent to find it")
    web.serves("two")
    assert web.pids() == running

    kill_agent(host)
    web.kill()
    wait(lambda: web.pids() not in ([], running), "it to be started by the next agent")
    web.serves("two")

    it.orch("daemon", "stop", web.name)
    wait(lambda: web.pids() == [], "the daemon to stop")
    it.orch("daemon", "start", web.name)
    web.serves("two")

    it.orch("rm", "web")
    wait(lambda: "web" not in it.services(), "the service to be gone")
    assert (host.units(), web.pids()) == ([], [])
    assert not (host.deployed / web.name).exists()
