"""What the modules of the active are started with, and what stands for one that is restarted."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from mgr.host.execution import Execution, OnDied
from mgr.host.finder import DiscoveredModule
from mgr.host.lifecycle import Event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCallbacks:
    """Functions that are called on the loop when a module's state changes.

    Attributes:
        on_event: An event in a module's lifecycle.
        on_stopped: A module's instance has stopped.
        on_reloaded: A module's files were imported again.
        on_abandoned_changed: The list of instances that did not stop has changed.

    """

    on_event: Callable[[str, Event], None]
    on_stopped: Callable[[str], None]
    on_reloaded: Callable[[DiscoveredModule], None]
    on_abandoned_changed: Callable[[], None]


@dataclass(slots=True, kw_only=True)
class OutsideEffects:
    """The conditions for starting a module that acts outside the store.

    The store rejects writes of an earlier term; nothing outside the store does. So such a module
    may not start while a worker of an earlier term may still act.

    Attributes:
        before_start: Awaited just before each is constructed.
        from_s: The time on the clock before which no such module may be constructed; set when the
            term starts.

    """

    before_start: Callable[[], Awaitable[None]]
    from_s: float = math.inf


class Isolator(Protocol):
    """Runs modules in processes of their own."""

    async def can_time(self) -> bool:
        """Return whether the kernel can end a process at the deadline of the term."""
        ...

    def execution(self, found: DiscoveredModule, on_died: OnDied, *, timed: bool) -> Execution:
        """Make the execution of one instance; ``timed``: its process ends at that deadline."""
        ...


@dataclass(slots=True)
class Place:
    """Where the instances of one runner run. A change of the option is for the next runner.

    Attributes:
        isolated: In processes of their own.
        timed: The kernel ends these at the deadline of the term.

    """

    isolated: bool
    timed: bool = False
