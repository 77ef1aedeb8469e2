"""Lets a module read the fleet: hosts, their daemons, and the daemons' metadata and status."""

from __future__ import annotations

from typing import Any

from mgr.module_api.declared import ActiveModuleBase

ServiceInfoT = dict[str, str]
ServerInfoT = dict[str, str | list[ServiceInfoT]]


class FleetMixin(ActiveModuleBase):
    """Gives a module the known hosts and daemons. Managers are included, as ``mgr.<id>``."""

    def get_server(self, hostname: str) -> dict[str, Any]:
        """Return a host and its daemons; an unknown host has none.

        ``{"hostname", "services": [{"type", "id", "ceph_version"}], "ceph_version"}``.
        """
        for server in self._context.get_servers():
            if server["hostname"] == hostname:
                return server
        return {"hostname": hostname, "services": [], "ceph_version": ""}

    def list_servers(self) -> list[dict[str, Any]]:
        """Return every host with a known daemon, each as ``get_server`` returns it."""
        return self._context.get_servers()

    def get_metadata(
        self, svc_type: str, svc_id: str, default: dict[str, str] | None = None
    ) -> dict[str, str] | None:
        """Return the metadata a daemon reported when it joined; ``default`` if there is none."""
        return self._context.get_metadata(svc_type, svc_id) or default

    def get_daemon_status(self, svc_type: str, svc_id: str) -> dict[str, str] | None:
        """Return the last status of a daemon; empty if it reported none, None if it is unknown."""
        return self._context.get_daemon_status(svc_type, svc_id)

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Return the health metrics of every known daemon, by name; mostly empty."""
        return self._context.get_daemon_health_metrics()

    def get_daemons(self) -> list[dict[str, Any]]:
        """Return every daemon that reports or is awaited, without managers. Ours, not ceph-mgr's.

        ``name``, ``type``, ``id``, ``hostname``, ``version``, ``state`` (``reporting``; ``awaited``
        after a failover; ``silent``), ``since``, ``reported_at`` (seconds since 1970, or None).
        """
        return self._context.get_daemons()

    def set_device_wear_level(self, devid: str, wear_level: float) -> None:
        """Store the wear of a device, from 0 to 1, under ``device/<devid>``.

        A value below 0 removes it.
        """
        self._context.set_device_wear_level(devid, wear_level)
