"""Lets a module use a Ceph cluster: its configuration, bindings and pools.

The manager does not need Ceph. If Ceph's Python bindings and configuration are on the host, a
module can connect. Otherwise an error is raised at the first use, never at import. Each module has
a connection of its own, made in the process in which the module runs, so that no process is ever
forked with a connection.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mgr.module_api.ceph import bindings
from mgr.module_api.ceph.native import NativeMixin
from mgr.module_api.ceph.osd_map import OSDMap
from mgr.module_api.parts.commands import CommandsMixin

CONFIGURATION: Final = "/etc/ceph/ceph.conf"
REDIRECTS_MAX: Final = 5

LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "client_mount_timeout": ("300", "10"),
    "rados_mon_op_timeout": ("0", "10"),
    "rados_osd_op_timeout": ("0", "30"),
}
"""Time-outs of Ceph's library: Ceph's default, and the seconds that replace it. Without them a call
lasts as long as the cluster is down. Another value in the configuration stays."""


def attribute(name: str) -> Any:
    """Import ``mgr_module.rados`` or ``mgr_module.cephfs`` when it is used.

    Raises:
        AttributeError: It is not on this host, or the name is another one.

    """
    if name in bindings.NAMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            raise AttributeError(f"Ceph's Python bindings {name!r} are not on this host") from None
    raise AttributeError(f"module 'mgr_module' has no attribute {name!r}")


def _placed(module: RadosMixin) -> Any:
    return module.get("pg_stats")["pg_stats"]


class RadosMixin(CommandsMixin, NativeMixin):
    """Gives a module access to a Ceph cluster: connections, the OSD map, pools, file systems."""

    MGR_POOL_NAME = ".mgr"
    _rados: Any = None
    _cephfs: Any = None

    def get_ceph_conf_path(self) -> str:
        """Return the path of Ceph's configuration: the setting ``ceph_conf``, if it is set.

        Otherwise the environment variable ``CEPH_CONF`` counts, else Ceph's default path.
        """
        return self._ceph_setting("conf") or os.environ.get("CEPH_CONF", CONFIGURATION)

    def get_context(self) -> None:
        """Return None. In ceph-mgr, librados shares a context; here each module connects itself."""

    def get_rocksdb_version(self) -> str:
        """Return ``0.0.0``, because this process does not contain RocksDB."""
        return "0.0.0"

    @property
    def rados(self) -> Any:
        """A connected ``rados.Rados``, made at the first use. From any thread.

        Its calls end by themselves while the cluster is down: after 10 s where they need a
        monitor, after 30 s where they need an OSD, unless Ceph's configuration sets other limits.

        Raises:
            NoCephError: The bindings or the configuration are not on this host.
            rados.Error: The cluster cannot be reached, or refuses the user.

        """
        # On the instance: one module's silent cluster must not hold up others of this process.
        with vars(self).setdefault("_rados_lock", threading.Lock()):
            if self._rados is None:
                self._rados = self._connected()
            return self._rados

    def _connected(self) -> Any:
        given: dict[str, Any] = {"conffile": self.get_ceph_conf_path(), "name": self._user()}
        if keyring := self._ceph_setting("keyring"):
            given["conf"] = {"keyring": keyring}
        cluster = self._bindings("rados").Rados(**given)
        try:
            for option, (default, limit) in LIMITS.items():
                if cluster.conf_get(option) == default:
                    cluster.conf_set(option, limit)
            cluster.connect()
            # Before it is used: whoever comes after this instance has this address refused.
            self._ceph_register_client(cluster.get_addrs())
        except BaseException:
            cluster.shutdown()
            raise
        return cluster

    def _ceph_setting(self, name: str) -> str:
        return str(self._context.get_native_option(f"mgr_ceph_{name}") or "")

    @property
    def cephfs(self) -> Any:
        """An initialised ``cephfs.LibCephFS`` over ``rados``, made at the first use.

        Raises:
            NoCephError: The bindings or the configuration are not on this host.

        """
        if self._cephfs is None:
            self._cephfs = self.new_cephfs()
        return self._cephfs

    def new_cephfs(self) -> Any:
        """Return a new ``LibCephFS``, which the caller mounts and shuts down. Ours, not ceph-mgr's.

        Raises:
            NoCephError: The bindings or the configuration are not on this host.

        """
        library = self._bindings("cephfs").LibCephFS(rados_inst=self.rados)
        library.init()
        return library

    def shutdown(self) -> None:
        """Close the connections of ``rados`` and ``cephfs``. Most modules override this."""
        cephfs, self._cephfs = self._cephfs, None
        rados, self._rados = self._rados, None
        for connection in (cephfs, rados):
            if connection is not None:
                connection.shutdown()

    def _bindings(self, name: str) -> Any:
        try:
            found = bindings.bindings_of(name)
        except ImportError:
            why = f"Ceph's Python bindings {name!r} are not on this host"
            raise bindings.no_ceph(why) from None
        path = self.get_ceph_conf_path()
        if not os.access(path, os.R_OK):
            raise bindings.no_ceph(f"no Ceph cluster is known here: {path!r} cannot be read")
        return found

    def get_osdmap(self) -> OSDMap:
        """Return a copy of the map of OSDs, which the caller may change."""
        placed = partial(_placed, self)
        return OSDMap(self.get("osd_map"), self.get("osd_map_crush"), placed)

    # -- pools ------------------------------------------------------------------------------

    def pool_exists(self, name: str) -> bool:
        """Return whether there is a pool of this name."""
        return any(pool["pool_name"] == name for pool in self.get("osd_map")["pools"])

    def have_enough_osds(self) -> bool:
        """Return whether a pool can be created: at least one OSD is up and in."""
        return any(osd["up"] and osd["in"] for osd in self.get("osd_map")["osds"])

    def create_pool(self, pool: str) -> None:
        """Create a small pool; raises ``MonCommandFailed`` if that is refused."""
        small = {"pg_num": 1, "pg_num_min": 1, "pg_num_max": 32}
        self.check_mon_command({"prefix": "osd pool create", "pool": pool, **small})

    def rename_pool(self, srcpool: str, destpool: str) -> None:
        """Rename a pool; raises ``MonCommandFailed`` if that is refused."""
        names = {"srcpool": srcpool, "destpool": destpool}
        self.check_mon_command({"prefix": "osd pool rename", **names})

    def appify_pool(self, pool: str, app: str) -> None:
        """Set the application of a pool; raises ``MonCommandFailed`` if that is refused."""
        sure = {"pool": pool, "app": app, "yes_i_really_mean_it": True}
        self.check_mon_command({"prefix": "osd pool application enable", **sure})

    def create_mgr_pool(self) -> None:
        """Create the pool for ceph-mgr's module databases, if it does not exist."""
        name = self.MGR_POOL_NAME
        if self.pool_exists(name):
            return
        if self.pool_exists("device_health_metrics"):
            self.rename_pool("device_health_metrics", name)
        else:
            self.create_pool(name)
        self.appify_pool(name, "mgr")

    # -- file systems -----------------------------------------------------------------------

    def get_quiesce_leader_gid(self, fscid: int | str) -> int | None:
        """Return the MDS that coordinates quiescing of a file system; None if there is none."""
        for filesystem in self.get("fs_map")["filesystems"]:
            if str(filesystem["id"]) == str(fscid):
                leader: int | None = filesystem["mdsmap"].get("qdb_cluster", {}).get("leader")
                return leader
        return None

    def tell_quiesce_leader(
        self, leader: int | str, cmd_dict: dict[str, Any]
    ) -> tuple[int, str, str]:
        """Send a command to the quiesce leader, following up to five redirects to another one."""
        for _ in range(REDIRECTS_MAX):
            answer = self.tell_command("mds", str(leader), cmd_dict)
            if answer[0] != -errno.ENOTTY:
                break
            leader = json.loads(answer[1])["leader"]
        return answer
