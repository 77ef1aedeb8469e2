"""The interface of everything that runs daemons: processes, systemd, containers."""

from __future__ import annotations

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

    async def clean(self, unit: Unit) -> None:
        """Remove what is left of a daemon that has ended for good; its folder is the caller's.

        Raises:
            OSError: What runs it cannot be started.
            RuntimeError: What runs it does not answer: something may be left.

        """
        ...
