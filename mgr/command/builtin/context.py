"""Context of the built-in commands: their collaborators, without behaviour of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mgr.access.table import Access
from mgr.client_limits import ClientLimits
from mgr.clock import Clock
from mgr.cluster.fleet import Fleet
from mgr.cluster.log import ClusterLog
from mgr.cluster.maps import Maps
from mgr.cluster.progress import Progress
from mgr.command.module_usage import MeasureUsage
from mgr.command.registry import Registry
from mgr.command.running import RunningCommand
from mgr.config.history import ConfigHistory
from mgr.config.installed_modules import InstalledModule, PackageVersion
from mgr.config.values import ConfigValues
from mgr.health.board import Board
from mgr.module_api.manifest import Manifest
from mgr.pki.issuer import CertificateIssuer
from mgr.store.api import (
    ABSENT,
    FencedWriter,
    LeaseGrant,
    Page,
    Reader,
    Revision,
    StoreMember,
    StoreStatus,
)
from mgr.store.keys import Keys


class Leases(Protocol):
    """Makes leases, describes its servers, and reads data as it is stored: any ``Store``."""

    async def status(self, *, timeout_s: float | None = None) -> StoreStatus:
        """Return its version, cluster id and revision."""
        ...

    async def page(
        self,
        prefix: str,
        *,
        after: str = "",
        at: Revision = ABSENT,
        chars_max: int,
        timeout_s: float | None = None,
    ) -> Page:
        """Read keys under ``prefix`` behind ``after`` as they were at revision ``at``."""
        ...

    async def members(self, *, timeout_s: float) -> Sequence[StoreMember]:
        """Ask every server for its state."""
        ...

    async def grant(self, ttl_s: int) -> LeaseGrant:
        """Make a lease of at least ``ttl_s`` seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleInfo:
    """A module on this manager's disk.

    Attributes:
        always_on: Whether it runs unless it is forced off; it cannot be disabled.
        can_run: Whether it could be imported, and its ``can_run`` returned True.
        error: Why it cannot run, or why it failed; empty if neither.
        default_enabled: Whether it is enabled if no record decides it.
        blocked_by: The earlier instance that did not stop and so prevents the start; or empty.
        effects: Where it acts: ``external``, ``store`` or ``none``.
        effects_source: Origin of ``effects``: ``operator``, ``module``, ``table`` or ``nobody``.
        place: Where its code comes from.
        manifest: What it says it reaches; None if it has no manifest.
        package: SHA-256 of the package it comes from; empty if it was not installed by command.
        changes: What its import changes that all modules of a worker share.
        libraries: Whether it has libraries of its own: ``-``, ``not made``, ``outdated``,
            ``current``.

    """

    name: str
    always_on: bool = False
    can_run: bool = True
    error: str = ""
    default_enabled: bool = False
    blocked_by: str = ""
    effects: str = "external"
    effects_source: str = "nobody"
    place: str = ""
    manifest: Manifest | None = None
    changes: tuple[str, ...] = ()
    libraries: str = "-"
    package: str = ""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """Result of importing a module's files again.

    Attributes:
        runs: Whether the module runs or is about to.
        digest: Digest of its files.

    """

    runs: bool
    digest: str


@dataclass(frozen=True, slots=True)
class SealStatus:
    """What is sealed.

    Attributes:
        enabled: Whether this manager seals.
        current: The data key that seals.
        values: Sealed values by data key.
        unsealed: Secret values that are stored in plain text.

    """

    enabled: bool
    current: str
    values: dict[str, int]
    unsealed: int


class ModuleCatalogue(Protocol):
    """Lists and reloads the modules on this manager's disk."""

    def modules(self) -> Mapping[str, ModuleInfo]:
        """Return every module by name, enabled or not."""
        ...

    def has_run(self, name: str) -> bool:
        """Return whether an instance was started in this process, from files that still exist."""
        ...

    async def still_acting(self, name: str) -> str:
        """Wait until the module was stopped; describe what of it still acts, empty if nothing."""
        ...

    async def sync_libraries(self, name: str) -> str:
        """Install what the module requires on this host; return a digest of its requirements.

        Raises:
            InvalidArgumentError: It requires nothing, or that cannot be installed.

        """
        ...

    async def reload(self, name: str) -> ReloadResult:
        """Import the current files of a module.

        Raises:
            InvalidArgumentError: They cannot be imported; nothing changed.

        """
        ...


class Packages(Protocol):
    """Installs modules on every manager: ``mgr.active.modules.package_installer``."""

    def installed(self) -> Mapping[str, InstalledModule]:
        """Return the records of what is installed, by module."""
        ...

    async def install(self, data: bytes, digest: str, *, by: str) -> tuple[str, ReloadResult]:
        """Install a package whose SHA-256 is ``digest``; return the name of its module.

        Raises:
            InvalidArgumentError: It is damaged, does not load here, or there is a module of that
                name that was not installed. Every manager keeps what it had.
            TooLargeError: It, or all of them together, are above the limit. Nothing was changed.

        """
        ...

    async def roll_back(self, name: str, *, by: str) -> tuple[PackageVersion, ReloadResult]:
        """Install the version before the current one; that one can then be rolled back to.

        Raises:
            NotFoundError: The module was not installed.
            InvalidArgumentError: There is no version before, or it cannot be used any more.

        """
        ...

    async def uninstall(self, name: str) -> None:
        """Remove a module from every manager; its options and entries stay.

        Raises:
            NotFoundError: It was not installed.
            ConflictError: It is enabled.

        """
        ...


class Seals(Protocol):
    """The sealing of secret values: ``mgr.active.seal_keeper``."""

    def status(self) -> SealStatus:
        """Return what is sealed by which data key."""
        ...

    async def rotate(self) -> str:
        """Make a new data key; return its id.

        Raises:
            NotPermittedError: Nothing is sealed here, or the key cannot be wrapped now.

        """
        ...


class GiveUpLeadership(Protocol):
    """Gives up leadership."""

    async def __call__(self, *, reason: str, successor: str = "", asked_by: str = "") -> None:
        """Ask the guard to hand over, to ``successor`` if named. Returns before this has begun.

        ``asked_by`` names the client that requests it.

        Raises:
            NotFoundError: ``successor`` is no warm standby.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinContext:
    """Collaborators of the built-in commands, created by the active role.

    Attributes:
        version: This manager's version, as the command ``version`` prints it.
        mgr_map: Makes the document that ``get('mgr_map')`` returns.
        running: Lists the commands that run now, the oldest first.
        usage: Measures what modules use.

    """

    manager_id: str
    version: str
    keys: Keys
    mirror: Reader
    fenced: FencedWriter
    leases: Leases
    issuer: CertificateIssuer
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
    limits: ClientLimits
    mgr_map: Callable[[], Mapping[str, Any]]
    running: Callable[[], Sequence[RunningCommand]]
    usage: MeasureUsage
    packages: Packages
    resign: GiveUpLeadership
    seals: Seals
