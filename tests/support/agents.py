"""Hosts on this machine: each is an ``mgr-agent`` with a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import process

AGENT = Path(sys.executable).with_name("mgr-agent")
SETTINGS = """\
id = "{id}"
hosts = {hosts}
smart = false
top = false
read_every_s = 60
log_format = "json"

[deploy]
kinds = {kinds}
commands = {commands}
folder = "{folder}"
"""
PROGRAM = """\
exec 9>>"{folder}/$MGR_DAEMON.lock"
flock -n 9 || echo "$MGR_DAEMON" >> "{folder}/twice"
echo "$MGR_DAEMON $MGR_DAEMON_REVISION" >> "{folder}/starts"
trap 'exit 0' TERM
{more}
while :; do sleep 1000 9>&- & wait $!; done
"""
"""A daemon: it records each start, and whether another of its name runs on any host."""


def settings_text(
    ident: str,
    managers: Sequence[str],
    folder: Path | str,
    *,
    kinds: Sequence[str] = ("process",),
    commands: Sequence[str] = ("/bin/sh",),
) -> str:
    """The settings of an agent that lets the managers deploy into ``folder``."""
    lists = {"hosts": managers, "kinds": kinds, "commands": commands}
    texts = {name: json.dumps(list(each)) for name, each in lists.items()}
    return SETTINGS.format(id=ident, folder=folder, **texts)


def lines_of(log: Path, message: str) -> list[dict[str, Any]]:
    """The lines of an agent's log with this message."""
    wanted = f'"message": "{message}"'
    return [json.loads(each) for each in log.read_text().splitlines() if wanted in each]


class Host:
    """One host."""

    def __init__(self, ident: str, managers: Sequence[str], folder: Path) -> None:
        self.id = ident
        self.folder = folder / ident
        self.folder.mkdir(parents=True)
        self.log = self.folder / "agent.log"
        self.settings = self.folder / "agent.toml"
        self.deployed = self.folder / "deploy"
        self.settings.write_text(settings_text(ident, managers, self.deployed))
        self._agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the agent; returns at once."""
        self._agent = process.start([AGENT, "--config", self.settings], log=self.log)

    def kill_agent(self) -> None:
        """End the agent alone, without warning: what it started goes on."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait(5)

    def pids(self) -> dict[int, str]:
        """The processes of its daemons, with the folders that they were given."""
        return process.marked("HOME", str(self.deployed))

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The lines of the agent's log with this message."""
        return lines_of(self.log, message)

    def kill(self) -> None:
        """End the host: the agent and everything on it."""
        if self._agent is not None and self._agent.poll() is None:
            self.kill_agent()
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


class Hosts:
    """Several hosts; use as a context manager."""

    def __init__(self, count: int, managers: Sequence[str], folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.each = [Host(f"h{number}", managers, folder) for number in range(count)]

    def __enter__(self) -> Self:
        for host in self.each:
            host.start()
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.each:
            host.kill()

    def named(self, ident: str) -> Host:
        """The host with this name."""
        return next(host for host in self.each if host.id == ident)

    def starts(self) -> list[tuple[str, str]]:
        """Name and revision of every daemon that was started, in order."""
        file = self.folder / "starts"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(name, revision) for name, revision in map(str.split, lines)]

    def twice(self) -> str:
        """Daemons that were started while another of their name ran."""
        file = self.folder / "twice"
        return file.read_text() if file.exists() else ""

    def specification(self, service: str, *, more: str = "", **fields: Any) -> str:
        """A service of the program above; ``more`` is run before it waits."""
        script = PROGRAM.format(folder=self.folder, more=more)
        return json.dumps(
            {
                "service": service,
                "kind": "process",
                "command": ["/bin/sh", "-c", script],
                "settle_s": 0.3,
                **fields,
            }
        )

    def logs(self, lines: int = 40) -> str:
        """The last lines of every agent's log, for a failed test."""
        parts = []
        for host in self.each:
            tail = host.log.read_text(errors="replace").splitlines() if host.log.exists() else []
            parts += [f"---- {host.id}", *tail[-lines:]]
        return "\n".join(parts)
