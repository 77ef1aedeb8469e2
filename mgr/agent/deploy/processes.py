"""Daemons as processes that the agent supervises and that outlive it.

Each is the leader of a session of its own. It writes its process id into a file of its folder
before it becomes the program, so that an agent that died in between finds it: nothing is started
twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Final

from mgr.agent.deploy.runtime import LOG, NAME_VARIABLE, Unit, how_ended, last_lines

PID_FILE: Final = "pid"
KILLED_S: Final = 5.0
"""How long to wait for a killed process: it ends at once, unless it hangs in the kernel."""
SHELL: Final = "/bin/sh"
SCRIPT: Final = """\
cd "$0" || exit 126
printf %s "$$" > pid.new && mv pid.new pid && cd files || exit 126
[ "$1" = - ] || ulimit -v "$1" || exit 126
shift
exec "$@"
"""


class Process:
    """A process that runs. Implements ``Running``."""

    def __init__(self, pid: int, revision: str) -> None:
        """Watch the process ``pid``.

        Raises:
            ProcessLookupError: There is none.

        """
        self._pid = pid
        self.revision = revision
        self._pidfd = os.pidfd_open(pid)
        self._how = ""
        self.identity = pid, ticks_of(pid)

    async def wait(self) -> str:
        """See ``Running``."""
        if self._how:
            return self._how
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._how = self._reap()
        self._signal(signal.SIGKILL)  # whatever it left in its group would hold its ports
        return self._how

    async def stop(self, limit_s: float) -> None:
        """See ``Running``."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(limit_s):
                await self.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILLED_S):
                    await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)

    def _reap(self) -> str:
        try:
            _, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            return "ended"  # started by an agent before this one: its status is not for us
        return how_ended(os.waitstatus_to_exitcode(status))


class Processes:
    """Implements ``Runtime``."""

    async def start(self, unit: Unit) -> Process:
        """See ``Runtime``."""
        (unit.folder / PID_FILE).unlink(missing_ok=True)
        return Process(_spawn(unit), unit.revision)

    async def find(self, unit: Unit, identity: tuple[int, int]) -> Process | None:
        """See ``Runtime``."""
        pid, ticks = identity
        if not pid:
            pid = _read_pid(unit.folder / PID_FILE)
            if not pid or f"{NAME_VARIABLE}={unit.name}" not in _environment(pid):
                return None
            ticks = ticks_of(pid)
        if not ticks or ticks_of(pid) != ticks:
            return None
        with contextlib.suppress(ProcessLookupError):
            return Process(pid, unit.revision)
        return None

    async def output(self, unit: Unit, lines: int) -> str:
        """See ``Runtime``."""
        return last_lines(unit, lines)

    async def clean(self, unit: Unit) -> None:
        """See ``Runtime``."""


def ticks_of(pid: int) -> int:
    """Return when the process started, 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in {"Z", "X"} else int(fields[19])


def _read_pid(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _environment(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.split("\0")


def _spawn(unit: Unit) -> int:
    memory = unit.config.resources.memory_mb
    words = [
        SHELL,
        "-c",
        SCRIPT,
        str(unit.folder),
        "-" if memory is None else str(memory << 10),
    ]
    null, log = Path(os.devnull), unit.folder / LOG
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        SHELL,
        [*words, *unit.config.command],
        unit.host_environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, str(null), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        setsigmask=[],
    )
