"""What the manager's own commands work with: the collaborators, and no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mgr.access.table import Access
from mgr.clock import Clock
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.cluster.progress import Progress
from mgr.command.registry import Registry
from mgr.config.history import ConfigHistory
from mgr.config.values import ConfigValues
from mgr.health.board import Board
from mgr.store.api import FencedWriter, Grant, Reader
from mgr.store.keys import Keys


class Leases(Protocol):
    """Makes leases: any ``Store``."""

    async def grant(self, ttl_s: int) -> Grant:
        """Make a lease of at least ``ttl_s`` seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleInfo:
    """A module that this manager has on disk.

    Attributes:
        always_on: It runs unless it is forced off; it cannot be disabled.
        can_run: What its ``can_run`` said, or it could be imported at all.
        error: Why it cannot run, or why it failed; empty if all is well.
        default_enabled: It is enabled where no record says otherwise.
        blocked_by: The earlier instance that did not stop, for which it is not started; or empty.
        effects: Where it acts: ``external``, ``store`` or ``none``.
        effects_source: Who says so: ``operator``, ``module``, ``table`` or ``nobody``.

    """

    name: str
    always_on: bool = False
    can_run: bool = True
    error: str = ""
    default_enabled: bool = False
    blocked_by: str = ""
    effects: str = "external"
    effects_source: str = "nobody"


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """A module whose files were imported anew.

    Attributes:
        runs: It is to run, and does so or is about to.
        digest: Tells its files from others.

    """

    runs: bool
    digest: str


class ModuleCatalogue(Protocol):
    """The modules on this manager's disk."""

    def modules(self) -> Mapping[str, ModuleInfo]:
        """Every module by name, enabled or not."""
        ...

    async def reload(self, name: str) -> ReloadResult:
        """Import a module's files as they are now.

        Raises:
            InvalidArgumentError: They cannot be imported; nothing changed.

        """
        ...


class Resign(Protocol):
    """Gives up leadership."""

    async def __call__(self, *, reason: str, successor: str = "") -> None:
        """Ask the guard to hand over, to ``successor`` if named. Returns before it has begun.

        Raises:
            NotFoundError: ``successor`` is no warm standby.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinContext:
    """The collaborators of the built-in commands, made by the active's role.

    Attributes:
        version: Of this manager, as ``version`` prints it.
        mgr_map: Makes the document that ``get('mgr_map')`` returns.

    """

    manager_id: str
    version: str
    keys: Keys
    mirror: Reader
    fenced: FencedWriter
    leases: Leases
    config: ConfigValues
    history: ConfigHistory
    board: Board
    log: ClusterLog
    progress: Progress
    maps: Maps
    access: Access
    fleet: Fleet
    modules: ModuleCatalogue
    registry: Registry
    clock: Clock
    mgr_map: Callable[[], Mapping[str, Any]]
    resign: Resign
