"""The services that both roles of a manager use. The worker creates them once."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from mgr.audit.delivery import Delivery
from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK, Clock
from mgr.config.manager_options import manager_options
from mgr.config.schema import Schemas
from mgr.config.values import ConfigValues
from mgr.config.worker_deaths import quarantine_reason, quarantine_reasons
from mgr.errors import InvalidArgumentError
from mgr.host.abandoned import AbandonedInstances
from mgr.host.cluster_view import ClusterView
from mgr.host.finder import Catalogue, DiscoveredModule, ModuleLocation
from mgr.metrics import Metrics
from mgr.pki.signer import ManagerSigner
from mgr.settings import Settings
from mgr.store.api import Store
from mgr.store.endpoint_health import EndpointHealth
from mgr.store.identity import StoreIdentity
from mgr.store.keys import Keys
from mgr.store.mirror import KeyChange, Mirror
from mgr.store.space import StoreSpace


class ModuleStarter(Protocol):
    """Starts processes for modules (``mgr.module_process``)."""

    async def start(self, module: str, /, *, place: str = "", timed: bool = False) -> Any:
        """Start a process for ``module``; it has imported the module interface only.

        ``place`` is its file, beside which its requirements are. With ``timed`` it is killed at the
        deadline that ``set_deadline`` set last.
        """
        ...

    def environment_of(self, module: str, place: str, /) -> str:
        """Return the folder with the libraries of ``module``; empty if it has none of its own."""
        ...

    async def can_time(self) -> bool:
        """Return whether processes can be started that the kernel ends at a deadline."""
        ...

    def set_deadline(self, deadline_s: float, /) -> None:
        """Have the timed processes killed at that moment on the clock."""
        ...

    def pids(self) -> Mapping[str, int]:
        """Return the living processes by module."""
        ...

    def reached_limits(self) -> tuple[tuple[str, str, str], ...]:
        """Return the limits that were reached lately: module, end of the health code, what."""
        ...


class DeclarationReader(Protocol):
    """Reads what modules declare, each in a process that may die."""

    async def read(self, location: ModuleLocation, /, *, fresh: bool = False) -> DiscoveredModule:
        """Return the module; raises nothing. ``fresh``: its files may have changed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """The services and settings of one worker, shared by its active and standby roles.

    Attributes:
        catalogue: The modules on this host, ascending by name; changed by ``register_module``.
        config: The stored options; ``follow_config`` keeps them up to date.
        identity: Which etcd cluster this is, and which endpoints belong to another one.
        endpoints: Which endpoints of etcd have not answered for long.
        limits: Counts the clients that were refused because of a limit.
        space: Keeps a reserve in etcd.
        incarnation: Unique id of this worker.
        processes: Starts processes for modules; None: all run in threads, as in most tests.
        declarations: Reads what modules declare; None: they are imported here for that.
        unstored_quarantines: Modules quarantined by deaths that the guard could not store yet.
        audit_sinks: Where the audit goes beside etcd; None: nowhere.
        signer: Signs certificates, here or by asking a manager that can; None in tests.
        abandoned_instances: Instances of modules that did not stop and still run in this worker.

    """

    settings: Settings
    incarnation: str
    store: Store
    mirror: Mirror
    keys: Keys
    clock: Clock
    catalogue: dict[str, DiscoveredModule]
    config: ConfigValues
    view: ClusterView
    metrics: Metrics
    processes: ModuleStarter | None = None
    declarations: DeclarationReader | None = None
    unstored_quarantines: dict[str, str] = field(default_factory=dict)
    abandoned_instances: AbandonedInstances = field(default_factory=AbandonedInstances)
    identity: StoreIdentity = field(default_factory=StoreIdentity)
    endpoints: EndpointHealth = field(default_factory=EndpointHealth)
    limits: ClientLimits = field(default_factory=lambda: ClientLimits(CLOCK.now))
    space: StoreSpace | None = None
    audit_sinks: Delivery | None = None
    signer: ManagerSigner | None = None

    @property
    def id(self) -> str:
        """The name of this manager: the ``x`` of ``mgr.x``."""
        return self.settings.id

    def follow_quarantines(self) -> None:
        """Forget a quarantine that the guard could not store once the store knows of a death.

        From then on the store says whether the module is quarantined or was released.
        """
        for prefix in self.keys.of_quarantines:
            self._forget_stored(prefix, self.mirror.list(prefix))
            self.mirror.subscribe(prefix, partial(self._on_stored, prefix))

    def _on_stored(self, prefix: str, changes: Iterable[KeyChange]) -> None:
        self._forget_stored(prefix, [change.key for change in changes])

    def _forget_stored(self, prefix: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.unstored_quarantines.pop(key.removeprefix(prefix).partition("/")[0], None)

    def quarantine_reason(self, module: str) -> str:
        """Why ``module`` is quarantined; empty if it is not. From any thread."""
        stored = quarantine_reason(self.mirror, self.keys, module)
        return stored or self.unstored_quarantines.get(module, "")

    def quarantine_reasons(self) -> dict[str, str]:
        """Every module that is quarantined, and why."""
        return {**self.unstored_quarantines, **quarantine_reasons(self.mirror, self.keys)}

    def register_module(self, found: DiscoveredModule) -> None:
        """Add ``found`` and its options, replacing the module of that name. On the loop only."""
        self.config.schemas.put(found.name, found.options)
        entries = sorted({**self.catalogue, found.name: found}.items())
        self.catalogue.clear()
        self.catalogue.update(entries)

    def forget_module(self, name: str) -> None:
        """Remove the module ``name``, whose files are gone, and its options. On the loop only."""
        self.config.schemas.drop(name)
        self.catalogue.pop(name, None)


def readonly_options(settings: Settings, host: str) -> dict[str, str]:
    """Return the values of the manager options that modules can read and nobody can set."""
    return {
        "cluster": settings.cluster,
        "name": f"mgr.{settings.id}",
        "host": host,
        "fsid": settings.cluster,
        "mgr_data": settings.state_dir or f"/var/lib/ceph/mgr/{settings.cluster}-{settings.id}",
        "mgr_tls_cert": settings.tls_cert,
        "mgr_tls_key": settings.tls_key,
        "mgr_unprotected": ", ".join(settings.unprotected_listeners),
        "mon_host": settings.grpc_advertise or settings.grpc_listen,
        "mgr_module_path": ",".join(settings.module_path),
        "mgr_ceph_conf": settings.ceph_conf,
        "mgr_ceph_name": settings.ceph_name,
        "mgr_ceph_keyring": settings.ceph_keyring,
        "mon_mgr_beacon_grace": str(settings.lease_ttl_s),
    }


def known_options(settings: Settings, host: str, catalogue: Catalogue) -> Schemas:
    """Return the schemas of the manager's own options and of every module on this host."""
    schemas = Schemas(manager_options(readonly_options(settings, host)))
    for found in catalogue.values():
        try:
            schemas.put(found.name, found.options)
        except InvalidArgumentError:
            # The finder refuses a module with such a declaration.
            raise AssertionError(f"{found.name} was found with an option without a name") from None
    return schemas


def stored_config(
    settings: Settings, mirror: Mirror, keys: Keys, catalogue: Catalogue
) -> ConfigValues:
    """Return the stored options of the manager and of ``catalogue``, which stay up to date."""
    options = known_options(settings, socket.gethostname(), catalogue)
    config = ConfigValues(settings.id, options, keys)
    follow_config(config, mirror, keys)
    return config


def follow_config(config: ConfigValues, mirror: Mirror, keys: Keys) -> None:
    """Load the options into ``config`` now and after every change.

    Whoever depends on options subscribes to ``config``, which reports a change after loading it.
    """

    def reload(changes: Sequence[KeyChange]) -> None:
        config.reload(mirror.list(keys.config), [change.key for change in changes])

    config.load(mirror.list(keys.config))
    mirror.subscribe(keys.config, reload)
