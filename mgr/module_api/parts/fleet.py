"""The fleet as a module sees it: hosts, the daemons on them, and what those say of themselves."""

from __future__ import annotations

from typing import Any

from mgr.module_api.declared import ActiveModuleBase

ServiceInfoT = dict[str, str]
ServerInfoT = dict[str, str | list[ServiceInfoT]]


class FleetMixin(ActiveModuleBase):
    """The part of ``MgrModule`` about daemons. The managers are among them, as ``mgr.<id>``."""

    def get_server(self, hostname: str) -> dict[str, Any]:
        """The host and its daemons; a host that is not known has none.

        ``{"hostname", "services": [{"type", "id", "ceph_version"}], "ceph_version"}``.
        """
        for server in self._context.get_servers():
            if server["hostname"] == hostname:
                return server
        return {"hostname": hostname, "services": [], "ceph_version": ""}

    def list_servers(self) -> list[dict[str, Any]]:
        """Every host that a daemon is known on, as ``get_server`` shows it."""
        return self._context.get_servers()

    def get_metadata(
        self, svc_type: str, svc_id: str, default: dict[str, str] | None = None
    ) -> dict[str, str] | None:
        """What a daemon said of itself when it joined, as text; ``default`` if it said nothing."""
        return self._context.get_metadata(svc_type, svc_id) or default

    def get_daemon_status(self, svc_type: str, svc_id: str) -> dict[str, str] | None:
        """What a daemon last reported; empty if it did not, None if it is not known."""
        return self._context.get_daemon_status(svc_type, svc_id)

    def get_daemon_health_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Every known daemon by name, with what it counts of its troubles: mostly nothing."""
        return self._context.get_daemon_health_metrics()

    def get_daemons(self) -> list[dict[str, Any]]:
        """Ours, not ceph-mgr's: every daemon that reports or is waited for, managers left out.

        ``name``, ``type``, ``id``, ``hostname``, ``version``, ``state`` (``reporting``; ``awaited``
        after a failover; ``silent``), ``since``, ``reported_at`` (seconds since 1970, or None).
        """
        return self._context.get_daemons()

    def set_device_wear_level(self, devid: str, wear_level: float) -> None:
        """Note how worn a device is, from 0 to 1; kept under ``device/<devid>`` for all to read.

        Below 0: nobody knows any more.
        """
        self._context.set_device_wear_level(devid, wear_level)
