"""The interface of everything that runs daemons: processes, systemd, containers."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mgr.agent.deploy.config import DaemonConfig

NAME_VARIABLE: Final = "MGR_DAEMON"
REVISION_VARIABLE: Final = "MGR_DAEMON_REVISION"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOG: Final = "output.log"
FILES: Final = "files"
TAIL_BYTES: Final = 256 << 10
"""Of a log that is shown."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One daemon as a runtime sees it: its name, revision, configuration and folder."""

    name: str
    revision: str
    config: DaemonConfig
    folder: Path

    def environment(self) -> Mapping[str, str]:
        """Return the variables that it gets, secrets among them."""
        return {
            **self.config.environment,
            **self.config.secrets,
            NAME_VARIABLE: self.name,
            REVISION_VARIABLE: self.revision,
        }

    def host_environment(self) -> Mapping[str, str]:
        """Return all variables of a process of this host, whatever starts it."""
        return {"PATH": PATH, "HOME": str(self.folder), "LANG": "C.UTF-8", **self.environment()}


def how_ended(code: int) -> str:
    """Return in words how a process ended: with an exit status, or ``-code`` is a signal."""
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"  # one of the real-time signals


class Running(Protocol):
    """A daemon that runs."""

    @property
    def revision(self) -> str:
        """The revision that was started."""
        ...

    @property
    def identity(self) -> tuple[int, int]:
        """Process id and start time, to find it again; zeros if its name is enough."""
        ...

    async def wait(self) -> str:
        """Wait until it has ended; return how it ended, such as ``exited with 1``.

        Raises:
            OSError: What runs it cannot be started.
            RuntimeError: What runs it does not answer: whether it has ended is unknown.

        """
        ...

    async def stop(self, limit_s: float) -> None:
        """Ask it to end, kill it after ``limit_s``, and return once it has ended.

        Raises:
            OSError: What runs it cannot be started.
            RuntimeError: What runs it does not answer: it may still be there.

        """
        ...


class Runtime(Protocol):
    """Starts daemons of one kind."""

    async def start(self, unit: Unit) -> Running:
        """Start ``unit``, whose folder has its files.

        Raises:
            OSError: It cannot be started.
            RuntimeError: Likewise; the text says why.

        """
        ...

    async def find(self, unit: Unit, identity: tuple[int, int]) -> Running | None:
        """Return the daemon if one still runs that was started before, None otherwise.

        Raises:
            OSError: What runs it cannot be started.
            RuntimeError: What runs it does not answer: whether one runs is unknown.

        """
        ...

    async def output(self, unit: Unit, lines: int) -> str:
        """Return the last ``lines`` that it wrote.

        Raises:
            OSError: There is no output, or what has it cannot be started.
            RuntimeError: What has it does not answer, or has none.

        """
        ...

    async def clean(self, unit: Unit) -> None:
        """Remove what is left of a daemon that has ended for good; its folder is the caller's.

        Raises:
            OSError: What runs it cannot be started.
            RuntimeError: What runs it does not answer: something may be left.

        """
        ...


def last_lines(unit: Unit, lines: int) -> str:
    """Return the last lines of the log in the unit's folder.

    Raises:
        OSError: There is none.

    """
    with (unit.folder / LOG).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
