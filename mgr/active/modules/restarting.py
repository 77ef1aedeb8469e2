"""Runs the commands of a module that is being restarted: they wait for the new instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from mgr.access.table import Caller
from mgr.clock import Clock
from mgr.command.dispatch import Runner
from mgr.command.registry import Command
from mgr.errors import ModuleNotReadyError


class Modules(Protocol):
    """The modules of the active, as far as a restart needs them."""

    @property
    def clock(self) -> Clock:
        """The manager's clock."""
        ...

    async def wait_stopped(self, module: str) -> None:
        """Wait until no instance of ``module`` is being stopped."""
        ...

    def runner_of(self, module: str) -> Runner:
        """Return the runner of the commands of ``module``."""
        ...


class RestartingModule:
    """``Runner`` of a module whose instance is being stopped, to be followed by another one."""

    def __init__(self, modules: Modules, name: str) -> None:
        """Wait for the next instance of ``name``."""
        self._modules = modules
        self._name = name

    is_ready: Final = False

    async def ready(self, *, until_s: float) -> None:
        """See ``Runner``."""
        now_s = self._modules.clock.now()
        try:
            async with asyncio.timeout(max(0.0, until_s - now_s)):
                await self._modules.wait_stopped(self._name)
        except TimeoutError:
            raise ModuleNotReadyError(
                f"Module '{self._name}' is still being stopped: its next instance waits for that"
            ) from None
        await self._modules.runner_of(self._name).ready(until_s=until_s)

    async def run(
        self,
        command: Command,
        arguments: dict[str, Any],
        inbuf: str,
        *,
        deadline_s: float,
        caller: Caller,
        permit: Callable[[], object],
    ) -> object:
        """See ``Runner``."""
        run = self._modules.runner_of(self._name).run
        return await run(
            command, arguments, inbuf, deadline_s=deadline_s, caller=caller, permit=permit
        )
