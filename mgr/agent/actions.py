"""What ``tell host.<id> ...`` may do: what is listed in the settings, and nothing else."""

from __future__ import annotations

import errno
import json
from typing import Final

from mgr.agent.facts import facts
from mgr.agent.host_metrics import busiest
from mgr.agent.program import run
from mgr.agent.settings import Action, AgentSettings
from mgr.client.daemon.program import Program

CommandResult = tuple[int, str, str]

TOP: Final = 10
LINES: Final = 100
LIMIT_S: Final = 8.0
"""Of a program that is run, unless the caller asks for more. Below the ten seconds that mgrctl
waits by itself: else nobody would be there for the answer."""
LIMIT_S_MAX: Final = 25
"""A manager waits thirty seconds for an answer."""
_LIMIT: Final = f"name=limit,type=CephInt,range=1|{LIMIT_S_MAX},req=false"


class Actions:
    """The commands of one agent."""

    def __init__(self, settings: AgentSettings, program: Program) -> None:
        """Give ``program`` the commands that ``settings`` list."""
        self._settings = settings
        allowed = {action for watch in settings.watch if watch.unit for action in watch.allow}
        program.command("facts", "What this host is", perm="r")(self.facts)
        if settings.top:
            program.command(
                "top name=count,type=CephInt,range=1|100,req=false",
                "The programs that used most of the processor",
                perm="r",
            )(self.top)
        if "status" in allowed:
            program.command(
                f"unit status name=unit,type=CephString {_LIMIT}",
                "How a listed unit stands",
                perm="r",
            )(self.status)
        if "restart" in allowed:
            program.command(
                f"unit restart name=unit,type=CephString {_LIMIT}",
                "Restart a listed unit",
                perm="rw",
            )(self.restart)
        if "log" in allowed:
            program.command(
                "log name=unit,type=CephString name=lines,type=CephInt,range=1|1000,req=false "
                f"{_LIMIT}",
                "The last lines of a listed unit's journal",
                perm="r",
            )(self.log)

    def facts(self, format: str = "plain") -> str:  # noqa: A002 - what --format says
        """Say what the host is."""
        found = facts()
        if format.startswith("json"):
            return json.dumps(found, indent=4 if format == "json-pretty" else None)
        width = max(map(len, found))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in found.items())

    def top(self, count: int = TOP) -> str:
        """Show the busiest programs."""
        rows = [
            f"{pid:>8} {seconds:>10.1f} {rss >> 20:>8}  {name}"
            for pid, name, seconds, rss in busiest(count)
        ]
        return "\n".join([f"{'PID':>8} {'CPU s':>10} {'MiB':>8}  NAME", *rows])

    async def status(self, unit: str, limit: int | None = None) -> CommandResult:
        """Show what systemd says of a unit, within ``limit`` seconds."""
        command = "systemctl", "--no-pager", "--lines=0", "status"
        return await self._run_for_unit("status", unit, *command, limit=limit)

    async def restart(self, unit: str, limit: int | None = None) -> CommandResult:
        """Restart a unit, and wait ``limit`` seconds for it."""
        retval, stdout, stderr = await self._run_for_unit(
            "restart", unit, "systemctl", "restart", limit=limit
        )
        return retval, stdout, stderr or f"restarted {unit}"

    async def log(self, unit: str, lines: int = LINES, limit: int | None = None) -> CommandResult:
        """Show the end of a unit's journal, within ``limit`` seconds."""
        command = "journalctl", "--no-pager", f"--lines={lines}", "--quiet", "--unit"
        return await self._run_for_unit("log", unit, *command, limit=limit)

    async def _run_for_unit(
        self, action: Action, unit: str, *command: str, limit: int | None
    ) -> CommandResult:
        if self._settings.unit(unit, action) is None:
            return (
                -errno.EPERM,
                "",
                f"{action} of {unit!r} is not allowed by the settings of this host's agent",
            )
        limit_s = limit or LIMIT_S
        try:
            status, output = await run(*command, unit, limit_s=limit_s)
        except TimeoutError:  # an OSError, too, so it comes first
            why = (
                f"{command[0]} did not end within {limit_s:g} s: stopped (--limit asks for longer)"
            )
            return -errno.ETIMEDOUT, "", why
        except OSError as error:
            return -errno.ENOENT, "", f"cannot run {command[0]}: {error.strerror}"
        # `systemctl status` tells of a unit that does not run by its exit status: an answer, too.
        if status and action != "status":
            return -errno.EIO, "", output.strip()
        return 0, output, ""
