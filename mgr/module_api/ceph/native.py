"""The names of ceph-mgr's native layer, for modules that bypass ``MgrModule``.

In ceph-mgr the public methods call these; here these call the public methods.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from mgr.module_api.declared import ActiveModuleBase

ALIASES: Final[Mapping[str, str]] = {
    "_ceph_add_mds_perf_query": "add_mds_perf_query",
    "_ceph_add_osd_perf_query": "add_osd_perf_query",
    "_ceph_clear_all_progress_events": "clear_all_progress_events",
    "_ceph_complete_progress_event": "complete_progress_event",
    "_ceph_get": "get",
    "_ceph_get_ceph_conf_path": "get_ceph_conf_path",
    "_ceph_get_context": "get_context",
    "_ceph_get_counter": "get_counter",
    "_ceph_get_daemon_health_metrics": "get_daemon_health_metrics",
    "_ceph_get_daemon_status": "get_daemon_status",
    "_ceph_get_foreign_option": "get_foreign_ceph_option",
    "_ceph_get_latest_counter": "get_latest_counter",
    "_ceph_get_latest_unlabeled_counter": "get_latest_unlabeled_counter",
    "_ceph_get_mds_perf_counters": "get_mds_perf_counters",
    "_ceph_get_metadata": "get_metadata",
    "_ceph_get_mgr_id": "get_mgr_id",
    "_ceph_get_option": "get_ceph_option",
    "_ceph_get_osd_perf_counters": "get_osd_perf_counters",
    "_ceph_get_osdmap": "get_osdmap",
    "_ceph_get_perf_schema": "get_perf_schema",
    "_ceph_get_rocksdb_version": "get_rocksdb_version",
    "_ceph_get_store": "get_store",
    "_ceph_get_store_prefix": "get_store_prefix",
    "_ceph_get_unlabeled_counter": "get_unlabeled_counter",
    "_ceph_get_unlabeled_perf_schema": "get_unlabeled_perf_schema",
    "_ceph_have_mon_connection": "have_mon_connection",
    "_ceph_is_authorized": "is_authorized",
    "_ceph_lookup_release_name": "lookup_release_name",
    "_ceph_remove_mds_perf_query": "remove_mds_perf_query",
    "_ceph_remove_osd_perf_query": "remove_osd_perf_query",
    "_ceph_reregister_mds_perf_queries": "reregister_mds_perf_queries",
    "_ceph_send_command": "send_command",
    "_ceph_set_device_wear_level": "set_device_wear_level",
    "_ceph_set_health_checks": "set_health_checks",
    "_ceph_set_store": "set_store",
    "_ceph_set_uri": "set_uri",
    "_ceph_update_progress_event": "update_progress_event",
}
"""Native names, each with the public method that has the same arguments and result."""


class NativeMixin(ActiveModuleBase):
    """Gives a module the names of ceph-mgr's native layer (``_ceph_...``)."""

    def _ceph_get_version(self) -> str:
        return str(getattr(self, "version"))  # noqa: B009 - MgrModule has it, this part does not

    def _ceph_get_release_name(self) -> str:
        return str(getattr(self, "release_name"))  # noqa: B009 - as above

    def _ceph_get_server(self, hostname: str | None) -> Any:
        servers = self._context.get_servers()
        if hostname is None:
            return servers
        return next((each for each in servers if each["hostname"] == hostname), None)

    def _ceph_get_module_option(self, module: str, key: str, localized_prefix: str = "") -> Any:
        return self._context.get_option(module, key, localized=bool(localized_prefix))

    def _ceph_set_module_option(self, module: str, key: str, val: str | None) -> None:
        self._context.set_option(module, key, val)

    def _ceph_dispatch_remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return self._context.remote(module, method, args, kwargs)

    def _ceph_notify_all(self, kind: str, notify_id: str) -> None:
        self._context.notify_all(kind, notify_id)

    def _ceph_cluster_log(self, channel: str, priority: int, message: str) -> None:
        self._context.cluster_log(channel, priority, message)

    def _ceph_register_client(self, *given: Any) -> None:
        # Up to Ceph 18 the addresses alone, since 20 a name before them and a flag behind.
        address = given[1] if len(given) > 1 else given[0]
        if address and self._context.get_native_option("mgr_ceph_conf"):
            instance = vars(self).setdefault("_ceph_instance", secrets.token_hex(4))
            self._context.register_ceph_client(instance, str(address))

    def _ceph_unregister_client(self, *_: Any) -> None:
        """Do nothing: a client that is closed may be refused later."""

    def _ceph_exit(self, status: int, hard: bool = False) -> NoReturn:  # noqa: FBT001, FBT002 - ceph-mgr's signature
        """End this module, not the manager: the exception is a crash of the module."""
        if hard:
            os._exit(status)
        sys.exit(status)


def _alias(public: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, public)(*args, **kwargs)

    call.__name__ = public
    return call


for _name, _public in ALIASES.items():
    setattr(NativeMixin, _name, _alias(_public))
