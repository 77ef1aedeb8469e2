"""Daemons as containers of podman or docker, which outlive the agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from typing import Any, Final

from mgr.agent.deploy.command_line import checked, write_variables
from mgr.agent.deploy.runtime import FILES, Unit

POLL_S: Final = 1.0
ENGINES: Final = ("podman", "docker")
LABEL: Final = "mgr.revision"
MOUNT: Final = "/run/mgr"
"""Where a container finds its files."""


def container_name(daemon: str) -> str:
    """Return the name of the container of ``daemon``."""
    return f"mgr-{daemon}"


class Container:
    """A container that runs. Implements ``Running``."""

    identity = 0, 0

    def __init__(self, engine: str, name: str, revision: str) -> None:
        self._engine = engine
        self._name = name
        self.revision = revision

    async def wait(self) -> str:
        """See ``Running``."""
        while True:
            state = await _inspect(self._engine, self._name)
            if state is None:
                return "container removed"
            if not state["State"]["Running"]:
                return f"exited with {state['State'].get('ExitCode', '?')}"
            await asyncio.sleep(POLL_S)

    async def stop(self, limit_s: float) -> None:
        """See ``Running``."""
        seconds = max(1, round(limit_s))
        with contextlib.suppress(RuntimeError):
            await checked(
                self._engine, "stop", "-t", str(seconds), self._name, limit_s=seconds + 30
            )
        await _remove(self._engine, self._name)


class Containers:
    """Implements ``Runtime``."""

    def __init__(self, engine: str = "") -> None:
        """Use ``engine``, or the first of ``ENGINES`` that is installed."""
        self._engine = engine

    def engine(self) -> str:
        """Return the program.

        Raises:
            RuntimeError: None is installed.

        """
        found = self._engine or next(filter(None, map(shutil.which, ENGINES)), "")
        if not found:
            raise RuntimeError("neither podman nor docker is installed")
        return found

    async def start(self, unit: Unit) -> Container:
        """See ``Runtime``."""
        engine, name, config = self.engine(), container_name(unit.name), unit.config
        variables = write_variables(unit.folder, unit.environment(), quoted=False)
        options = ["--name", name, "--label", f"{LABEL}={unit.revision}"]
        options += ["--env-file", str(variables), "-v", f"{unit.folder / FILES}:{MOUNT}:ro"]
        for port in config.ports:
            options += ["-p", f"{port}:{port}"]
        if config.resources.memory_mb is not None:
            options += ["--memory", f"{config.resources.memory_mb}m"]
        if config.resources.cpus is not None:
            options += ["--cpus", f"{config.resources.cpus:g}"]
        await _remove(engine, name)
        await checked(engine, "run", "-d", *options, config.image, *config.command)
        return Container(engine, name, unit.revision)

    async def find(self, unit: Unit, identity: tuple[int, int]) -> Container | None:  # noqa: ARG002 - its name is enough
        """See ``Runtime``."""
        engine, name = self.engine(), container_name(unit.name)
        state = await _inspect(engine, name)
        if state is None:
            return None
        revision = (state["Config"].get("Labels") or {}).get(LABEL)
        if state["State"]["Running"] and revision == unit.revision:
            return Container(engine, name, unit.revision)
        await Container(engine, name, str(revision)).stop(unit.config.stop_s)
        return None

    async def output(self, unit: Unit, lines: int) -> str:
        """See ``Runtime``."""
        name = container_name(unit.name)
        return (await checked(self.engine(), "logs", "--tail", str(lines), name)).rstrip("\n")

    async def clean(self, unit: Unit) -> None:
        """See ``Runtime``."""
        await _remove(self.engine(), container_name(unit.name))


async def _inspect(engine: str, name: str) -> Any:
    try:
        return json.loads(await checked(engine, "container", "inspect", name))[0]
    except RuntimeError as error:
        if "no such" in str(error).lower():
            return None
        raise


async def _remove(engine: str, name: str) -> None:
    try:
        await checked(engine, "rm", "-f", name)
    except RuntimeError as error:
        if "no such" not in str(error).lower():
            raise
