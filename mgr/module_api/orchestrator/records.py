"""What orchestrators tell: hosts, services, daemons, devices, updates."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field
from typing import Any


class DaemonDescriptionStatus(enum.IntEnum):
    """State of a daemon. The numbers are Ceph's."""

    unknown = -2
    error = -1
    stopped = 0
    running = 1
    starting = 2


@dataclass
class HostSpec:
    """A host that daemons may be placed on."""

    hostname: str
    addr: str = ""
    labels: list[str] = field(default_factory=list)
    status: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass
class DaemonDescription:
    """One daemon.

    Attributes:
        daemon_type: The service that it belongs to, up to the first dot.
        daemon_id: What distinguishes it from others of its type.
        version: The revision of the specification that it runs.

    """

    daemon_type: str
    daemon_id: str
    hostname: str = ""
    service_name: str = ""
    status: DaemonDescriptionStatus = DaemonDescriptionStatus.unknown
    status_desc: str = ""
    version: str = ""
    container_image_name: str = ""
    ports: list[int] = field(default_factory=list)
    restarts: int = 0
    detail: str = ""

    def name(self) -> str:
        """Return ``<type>.<id>``."""
        return f"{self.daemon_type}.{self.daemon_id}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"daemon_name": self.name(), **asdict(self), "status": int(self.status)}


@dataclass
class ServiceDescription:
    """One service: how many daemons are wanted and run, and what its update is doing."""

    service_name: str
    kind: str = ""
    running: int = 0
    size: int = 0
    state: str = ""
    detail: str = ""
    revision: str = ""
    placement: str = ""
    spec: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass
class InventoryHost:
    """The devices of one host."""

    name: str
    devices: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass
class UpgradeStatusSpec:
    """How far an update is."""

    in_progress: bool = False
    target_image: str | None = None
    services_complete: list[str] = field(default_factory=list)
    progress: str | None = None
    message: str = ""
    is_paused: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass
class PlannedStep:
    """One step of a plan that is shown before it is carried out."""

    service: str
    action: str
    host: str
    daemon: str
    revision: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)
