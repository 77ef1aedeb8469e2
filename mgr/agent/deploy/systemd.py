"""Daemons as transient units of systemd, which outlive the agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mgr.agent.deploy.command_line import checked, write_variables
from mgr.agent.deploy.runtime import FILES, LOG, Unit, how_ended, last_lines

POLL_S: Final = 1.0
RUNNING: Final = {"active", "activating", "deactivating", "reloading"}
"""States of a unit that has processes, or may have."""
EXITED: Final = {0, os.CLD_EXITED}
"""Values of ``ExecMainCode`` with which ``ExecMainStatus`` is no signal; 0: a unit that is gone."""
BOOTED: Final = Path("/run/systemd/system")
"""There where systemd runs as the first process."""


def unit_name(daemon: str) -> str:
    """Return the name of the unit of ``daemon``."""
    return f"mgr-{daemon}.service"


class TransientUnit:
    """A unit that runs. Implements ``Running``."""

    identity = 0, 0

    def __init__(self, name: str, revision: str) -> None:
        self._name = name
        self.revision = revision

    async def wait(self) -> str:
        """See ``Running``."""
        while True:
            state = await _properties(self._name)
            if state.get("ActiveState") not in RUNNING:
                await _forget(self._name)
                return _how(state)
            await asyncio.sleep(POLL_S)

    async def stop(self, limit_s: float) -> None:
        """See ``Running``."""
        with contextlib.suppress(RuntimeError):
            await checked("systemctl", "stop", self._name, limit_s=limit_s + POLL_S)
        with contextlib.suppress(RuntimeError):
            await checked("systemctl", "kill", "--signal=SIGKILL", self._name)
        if (await _properties(self._name)).get("ActiveState") in RUNNING:
            raise RuntimeError(f"systemctl: {self._name} does not end")
        await _forget(self._name)


class TransientUnits:
    """Implements ``Runtime``."""

    async def start(self, unit: Unit) -> TransientUnit:
        """See ``Runtime``."""
        name, config, folder = unit_name(unit.name), unit.config, unit.folder
        variables = write_variables(folder, unit.host_environment(), quoted=True)
        properties = [
            f"EnvironmentFile={variables}",
            f"WorkingDirectory={folder / FILES}",
            f"StandardOutput=append:{folder / LOG}",
            f"StandardError=append:{folder / LOG}",
            f"TimeoutStopSec={config.stop_s:g}",
            "KillMode=control-group",
        ]
        if config.resources.memory_mb is not None:
            properties.append(f"MemoryMax={config.resources.memory_mb}M")
        if config.resources.cpus is not None:
            properties.append(f"CPUQuota={config.resources.cpus * 100:.0f}%")
        await _forget(name)
        await checked(
            "systemd-run",
            "--quiet",
            f"--unit={name}",
            f"--description=mgr {unit.name} {unit.revision}",
            *(f"--property={each}" for each in properties),
            "--",
            # systemd replaces ${NAME} in arguments; $$ is a dollar.
            *(word.replace("$", "$$") for word in config.command),
        )
        return TransientUnit(name, unit.revision)

    async def find(self, unit: Unit, identity: tuple[int, int]) -> TransientUnit | None:  # noqa: ARG002 - its name is enough
        """See ``Runtime``."""
        name = unit_name(unit.name)
        state = await _properties(name)
        described = state.get("Description", "") == f"mgr {unit.name} {unit.revision}"
        if state.get("ActiveState") in {"active", "activating"}:
            found = TransientUnit(name, unit.revision)
            if described:
                return found
            await found.stop(unit.config.stop_s)
        return None

    async def output(self, unit: Unit, lines: int) -> str:
        """See ``Runtime``."""
        return last_lines(unit, lines)

    async def clean(self, unit: Unit) -> None:
        """See ``Runtime``."""
        await _forget(unit_name(unit.name))


async def _properties(name: str) -> dict[str, str]:
    wanted = "--property=ActiveState,Description,ExecMainCode,ExecMainStatus"
    text = await checked("systemctl", "show", wanted, name)
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value for key, _, value in pairs}


def _how(state: Mapping[str, str]) -> str:
    status = int(state.get("ExecMainStatus") or 0)
    return how_ended(status if int(state.get("ExecMainCode") or 0) in EXITED else -status)


async def _forget(name: str) -> None:
    """Have systemd forget a unit that failed: its name is needed again."""
    with contextlib.suppress(RuntimeError):
        await checked("systemctl", "reset-failed", name)
