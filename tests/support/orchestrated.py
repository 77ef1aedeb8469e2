"""A cluster that deploys to hosts, as its users see it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

from mgr.errors import MgrError
from tests.support.cluster import Cluster, until_answered, wait_for

HostsT = TypeVar("HostsT")

LIMIT_S: Final = 240
SETTINGS: Final = {"profile": "off", "lease_ttl_s": 20, "watchdog_s": 15, "etcd_timeout_s": 5}
"""For its managers: many agents start on few cores, and no manager is to be deposed for that."""


def wait(probe: Callable[[], object], what: str) -> None:
    """Wait until ``probe`` is true; meanwhile there may be no active that answers."""

    def patiently() -> object:
        try:
            return probe()
        except MgrError:
            return False

    wait_for(patiently, what, LIMIT_S)


class Orchestrated(Generic[HostsT]):
    """A cluster whose back end is ``agents``, and its hosts."""

    def __init__(self, cluster: Cluster, hosts: HostsT) -> None:
        self.cluster = cluster
        self.hosts = hosts

    def enable(self) -> None:
        """Have the commands and the back end."""
        self.cluster.settled(LIMIT_S)
        self.cluster.enable("orchestrator", "agents")
        self.cluster.run("config", "set", "mgr", "mgr/orchestrator/orchestrator", "agents")

    def joined(self, count: int) -> None:
        """Wait until there are so many hosts."""
        wait(lambda: len(self._read("host", "ls")) == count, "every host to join")

    def orch(self, *words: str, text: str = "", retval: int = 0) -> str:
        """Run ``orch ...``; the answer's text."""
        command, data = ["orch", *words], text.encode()
        with self.cluster.client() as client:
            once = partial(client.execute, command, data=data, timeout_s=LIMIT_S)
            answer = until_answered(once, LIMIT_S)
        assert answer.retval == retval, answer
        return answer.text

    def services(self) -> dict[str, dict[str, Any]]:
        """State by name."""
        return {each["service_name"]: each for each in self._read("ls")}

    def daemons(self, service: str) -> dict[str, dict[str, Any]]:
        """Daemons by name."""
        found = self._read("ps", f"--service_name={service}")
        return {each["daemon_name"]: each for each in found}

    def arrived(self, **states: str) -> None:
        """Wait until each service has arrived in its state, with all daemons."""

        def probe() -> bool:
            found = self.services()
            return all(
                found.get(name, {}).get("state") == state
                and found[name]["running"] == found[name]["size"]
                for name, state in states.items()
            )

        wait(probe, f"services to be {states}")

    def kill_active(self) -> None:
        """``kill -9`` the worker of the active."""
        self.cluster.active(LIMIT_S).signal(signal.SIGKILL, worker=True)

    def _read(self, *words: str) -> Any:
        return json.loads(self.orch(*words, "--format=json"))
