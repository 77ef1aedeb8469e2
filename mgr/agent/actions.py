"""Commands of ``tell host.<id> ...``: only those that the settings allow."""

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
"""Default time limit of a program that is run. Below mgrctl's default timeout of ten seconds, so
that the answer still reaches it."""
LIMIT_S_MAX: Final = 25
"""Below the thirty seconds that a manager waits for an answer."""
_LIMIT: Final = f"name=limit,type=CephInt,range=1|{LIMIT_S_MAX},req=false"


class Actions:
    """The commands of one agent."""

    def __init__(self, settings: AgentSettings, program: Program) -> None:
        """Add the commands that ``settings`` allow to ``program``."""
        self._settings = settings
        allowed = {action for watch in settings.watch if watch.unit for action in watch.allow}
        program.command("facts", "Show facts about this host", perm="r")(self.facts)
        if settings.top:
            program.command(
                "top name=count,type=CephInt,range=1|100,req=false",
                "Show the processes that used the most CPU time",
                perm="r",
            )(self.top)
        if "status" in allowed:
            program.command(
                f"unit status name=unit,type=CephString {_LIMIT}",
                "Show the status of a listed unit",
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
                "Show the last lines of a listed unit's journal",
                perm="r",
            )(self.log)

    def facts(self, format: str = "plain") -> str:  # noqa: A002 - the value of --format
        """Return the facts of the host as text or JSON."""
        found = facts()
        if format.startswith("json"):
            return json.dumps(found, indent=4 if format == "json-pretty" else None)
        width = max(map(len, found))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in found.items())

    def top(self, count: int = TOP) -> str:
        """Return a table of the processes that used the most CPU time."""
        rows = [
            f"{pid:>8} {seconds:>10.1f} {rss >> 20:>8}  {name}"
            for pid, name, seconds, rss in busiest(count)
        ]
        return "\n".join([f"{'PID':>8} {'CPU s':>10} {'MiB':>8}  NAME", *rows])

    async def status(self, unit: str, limit: int | None = None) -> CommandResult:
        """Return systemd's status of a unit, within ``limit`` seconds."""
        command = "systemctl", "--no-pager", "--lines=0", "status"
        return await self._run_for_unit("status", unit, *command, limit=limit)

    async def restart(self, unit: str, limit: int | None = None) -> CommandResult:
        """Restart a unit and wait until it is restarted, ``limit`` seconds at most."""
        retval, stdout, stderr = await self._run_for_unit(
            "restart", unit, "systemctl", "restart", limit=limit
        )
        return retval, stdout, stderr or f"restarted {unit}"

    async def log(self, unit: str, lines: int = LINES, limit: int | None = None) -> CommandResult:
        """Return the end of a unit's journal, within ``limit`` seconds."""
        command = "journalctl", "--no-pager", f"--lines={lines}", "--quiet", "--unit"
        return await self._run_for_unit("log", unit, *command, limit=limit)

    async def _run_for_unit(
        self, action: Action, unit: str, *command: str, limit: int | None
    ) -> CommandResult:
        if self._settings.unit(unit, action) is None:
            return (
                -errno.EPERM,
                "",
                f"{action} of {unit!r} is not allowed: list it in the settings of mgr-agent",
            )
        limit_s = limit or LIMIT_S
        try:
            status, output = await run(*command, unit, limit_s=limit_s)
        except TimeoutError:  # a subclass of OSError, so it comes first
            why = f"{command[0]} did not end within {limit_s:g} s and was killed: raise --limit"
            return -errno.ETIMEDOUT, "", why
        except OSError as error:
            return -errno.ENOENT, "", f"cannot run {command[0]}: {error.strerror}"
        # `systemctl status` exits non-zero for a unit that does not run: that is an answer, too.
        if status and action != "status":
            return -errno.EIO, "", output.strip()
        return 0, output, ""
