"""Keeps track of module instances that did not stop when asked, for as long as they run.

Python cannot end a thread. An abandoned instance may go on acting, so until its threads have ended
the worker is not quiesced, and no second instance is started beside it. Use it on the loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from mgr.clock import timestamp

REMEDY: Final = "`mgrctl mgr fail` hands over and starts a clean worker"


class ModuleRole(Enum):
    """Whether an instance is of a module's active class or of its standby class."""

    ACTIVE = "module"
    STANDBY = "standby of module"


@dataclass(frozen=True, slots=True, eq=False)
class AbandonedInstance:
    """An instance that did not stop.

    Attributes:
        module: Name of its module.
        role: Which class of the module it is an instance of.
        since: When it was abandoned, as ISO 8601.
        external: Whether it may act outside the store.
        running: Its threads and calls that have not ended yet.

    """

    module: str
    role: ModuleRole
    since: str
    external: bool
    running: set[asyncio.Future[Any]]

    def __str__(self) -> str:
        """Describe the instance and since when it should have ended."""
        return f"an instance of {self.role.value} '{self.module}' did not stop at {self.since}"


class AbandonedInstances:
    """Every instance of this worker that did not stop and still runs."""

    def __init__(self) -> None:
        self._instances: list[AbandonedInstance] = []
        self._callbacks: list[Callable[[], None]] = []

    def add(
        self,
        module: str,
        role: ModuleRole,
        running: Iterable[asyncio.Future[Any]],
        *,
        external: bool,
    ) -> None:
        """Track an instance until every future in ``running`` has ended."""
        instance = AbandonedInstance(module, role, timestamp(), external, set(running))
        if not instance.running:
            return
        self._instances.append(instance)
        for future in tuple(instance.running):
            future.add_done_callback(lambda ended: self._on_ended(instance, ended))
        self._notify_subscribers()

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever an instance is added or has ended."""
        self._callbacks.append(callback)

    def all(self) -> tuple[AbandonedInstance, ...]:
        """Return every instance that still runs, the oldest first."""
        return tuple(self._instances)

    def find(self, module: str, role: ModuleRole = ModuleRole.ACTIVE) -> AbandonedInstance | None:
        """Return the oldest instance of ``module`` in ``role``, None if there is none."""
        same = (each for each in self._instances if (each.module, each.role) == (module, role))
        return next(same, None)

    def _on_ended(self, instance: AbandonedInstance, future: asyncio.Future[Any]) -> None:
        instance.running.discard(future)
        if not instance.running:
            self._instances.remove(instance)
            self._notify_subscribers()

    def _notify_subscribers(self) -> None:
        for callback in tuple(self._callbacks):
            callback()
