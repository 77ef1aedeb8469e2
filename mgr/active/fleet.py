"""The fleet that modules read: the managers, and in time the daemons that report to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mgr.election.leader import Presence
from mgr.host.view import ClusterView
from mgr.module_api.release import RELEASE, version_line

MANAGER: Final = "mgr"


class Fleet:
    """What is known of daemons. From any thread; what it returns is the caller's own.

    The managers are known by their presences. Counters come with the daemons that report them;
    until one does, each answer is the one for a daemon that is not known.
    """

    def __init__(self, view: ClusterView) -> None:
        """Show the managers that ``view`` shows."""
        self._view = view

    def get_servers(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        servers: dict[str, dict[str, Any]] = {}
        for presence in self._view.presences():
            line = version_line(presence.version)
            empty = {"hostname": presence.host, "services": [], "ceph_version": line}
            server = servers.setdefault(presence.host, empty)
            server["services"].append({"type": MANAGER, "id": presence.name, "ceph_version": line})
        return [servers[host] for host in sorted(servers)]

    def get_metadata(self, kind: str, name: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        presence = self._manager(kind, name)
        return metadata(presence) if presence else {}

    def get_daemon_status(self, kind: str, name: str) -> dict[str, str] | None:
        """See ``mgr.module_api.context``."""
        return {} if self._manager(kind, name) else None

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """See ``mgr.module_api.context``."""
        return {f"{MANAGER}.{presence.name}": [] for presence in self._view.presences()}

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:  # noqa: ARG002 - no daemon reports yet
        """See ``mgr.module_api.context``."""
        return {}

    def get_counter(self, kind: str, name: str, path: str) -> list[list[float]]:  # noqa: ARG002 - as above
        """See ``mgr.module_api.context``."""
        return []

    def get_latest_counter(self, kind: str, name: str, path: str) -> list[float]:  # noqa: ARG002 - as above
        """See ``mgr.module_api.context``."""
        return []

    def get_latest_labelled_counter(
        self,
        kind: str,  # noqa: ARG002 - as above
        name: str,  # noqa: ARG002 - as above
        key: str,  # noqa: ARG002 - as above
        counter: str,  # noqa: ARG002 - as above
        labels: Sequence[tuple[str, str]],  # noqa: ARG002 - as above
    ) -> list[float]:
        """See ``mgr.module_api.context``."""
        return []

    def _manager(self, kind: str, name: str) -> Presence | None:
        if kind != MANAGER:
            return None
        return next((each for each in self._view.presences() if each.name == name), None)


def metadata(presence: Presence) -> dict[str, str]:
    """What a manager says of itself, under the names that Ceph's daemons use."""
    return {
        "addr": presence.grpc_address,
        "addrs": presence.grpc_address,
        "ceph_release": RELEASE,
        "ceph_version": version_line(presence.version),
        "ceph_version_short": presence.version,
        "hostname": presence.host,
        "http_address": presence.http_address,
        "incarnation": presence.incarnation,
        "pid": str(presence.pid),
        "started_at": presence.started_at,
    }
