"""Ceph's documents for a cluster that has no OSDs, pools or file systems.

They have Ceph's shapes and every field that Ceph's modules are known to read, so that code which
counts or adds up works unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mgr.cluster.frozen import freeze
from mgr.module_api.ceph.release import RELEASE, CephReleases

_NO_TIME: Final = "0.000000"
_NEVER: Final = "1970-01-01T00:00:00.000000Z"
"""A time in the past, for what never happened: modules parse it, and an empty text stops them."""
_NO_IO: Final = dict.fromkeys(
    (
        "num_bytes",
        "num_objects",
        "num_object_clones",
        "num_object_copies",
        "num_objects_missing_on_primary",
        "num_objects_missing",
        "num_objects_degraded",
        "num_objects_misplaced",
        "num_objects_unfound",
        "num_objects_dirty",
        "num_whiteouts",
        "num_read",
        "num_read_kb",
        "num_write",
        "num_write_kb",
        "num_scrub_errors",
        "num_objects_recovered",
        "num_bytes_recovered",
        "num_keys_recovered",
        "num_omap_bytes",
        "num_omap_keys",
    ),
    0,
)
_NO_PLACEMENT: Final = {
    "stat_sum": _NO_IO,
    "log_size": 0,
    "ondisk_log_size": 0,
    "up": 0,
    "acting": 0,
    "num_store_stats": 0,
}
_NO_STORAGE: Final = {
    "up_from": 0,
    "seq": 0,
    "num_pgs": 0,
    "num_osds": 0,
    "kb": 0,
    "kb_used": 0,
    "kb_avail": 0,
    "statfs": {"total": 0, "available": 0, "allocated": 0, "data_stored": 0},
    "hb_peers": [],
    "perf_stat": {"commit_latency_ms": 0, "apply_latency_ms": 0},
    "alerts": [],
}
_PG_STATUS: Final = {
    "pgs_by_state": [],
    **dict.fromkeys(
        (
            "num_pgs",
            "num_pools",
            "num_objects",
            "data_bytes",
            "bytes_used",
            "bytes_avail",
            "bytes_total",
            "read_bytes_sec",
            "write_bytes_sec",
            "read_op_per_sec",
            "write_op_per_sec",
        ),
        0,
    ),
}
_MON_MAP: Final = {
    "epoch": 0,
    "fsid": "",
    "modified": _NEVER,
    "created": _NEVER,
    "min_mon_release": CephReleases.maximum.value,
    "min_mon_release_name": RELEASE,
    "features": {"persistent": [], "optional": []},
    "mons": [],
}
_MON_STATUS: Final = {
    "name": "",
    "rank": -1,
    "state": "",
    "election_epoch": 0,
    "quorum": [],
    "outside_quorum": [],
    "extra_probe_peers": [],
    "monmap": _MON_MAP,
}

EMPTY_CEPH_DOCUMENTS: Final[Mapping[str, Any]] = freeze(
    {
        "have_local_config_map": {"have_local_config_map": False},
        "mon_map": {**_MON_MAP, "quorum": []},
        "mon_status": {"json": json.dumps(_MON_STATUS)},
        "fs_map": {
            "epoch": 0,
            "default_fscid": -1,
            "compat": {},
            "feature_flags": {},
            "standbys": [],
            "filesystems": [],
        },
        "osd_map": {
            "epoch": 0,
            "fsid": "",
            "created": _NEVER,
            "modified": _NEVER,
            "flags": "",
            "flags_num": 0,
            "flags_set": [],
            "crush_version": 0,
            "full_ratio": 0.0,
            "backfillfull_ratio": 0.0,
            "nearfull_ratio": 0.0,
            "cluster_snapshot": "",
            "pool_max": 0,
            "max_osd": 0,
            "require_min_compat_client": "luminous",
            "min_compat_client": "jewel",
            "require_osd_release": RELEASE,
            "pools": [],
            "osds": [],
            "osd_xinfo": [],
            "pg_upmap": [],
            "pg_upmap_items": [],
            "pg_temp": [],
            "primary_temp": [],
            "blocklist": {},
            "erasure_code_profiles": {},
            "removed_snaps_queue": [],
            "new_removed_snaps": [],
            "new_purged_snaps": [],
            "crush_node_flags": {},
            "device_class_flags": {},
            "stretch_mode": {"stretch_mode_enabled": False},
        },
        "osd_map_tree": {"nodes": [], "stray": []},
        "osd_map_crush": {
            "devices": [],
            "types": [],
            "buckets": [],
            "rules": [],
            "tunables": {},
            "choose_args": {},
        },
        "df": {
            "stats": {
                "total_bytes": 0,
                "total_avail_bytes": 0,
                "total_used_bytes": 0,
                "total_used_raw_bytes": 0,
                "total_used_raw_ratio": 0.0,
                "num_osds": 0,
                "num_per_pool_osds": 0,
                "num_per_pool_omap_osds": 0,
            },
            "stats_by_class": {},
            "pools": [],
        },
        "pg_ready": {"pg_ready": True},
        "pg_summary": {"by_osd": {}, "by_pool": {}, "all": {}, "pg_stats_sum": _NO_PLACEMENT},
        "pg_status": _PG_STATUS,
        "pg_dump": {
            "version": 0,
            "stamp": _NEVER,
            "last_osdmap_epoch": 0,
            "last_pg_scan": 0,
            "pg_stats_sum": _NO_PLACEMENT,
            "osd_stats_sum": _NO_STORAGE,
            "pg_stats_delta": {**_NO_PLACEMENT, "stamp_delta": _NO_TIME},
            "pg_stats": [],
            "pool_stats": [],
            "osd_stats": [],
            "pool_statfs": [],
        },
        "pg_stats": {"pg_stats": []},
        "pool_stats": {"pool_stats": []},
        "osd_stats": {"osd_stats": []},
        "osd_pool_stats": {"pool_stats": []},
        "osd_ping_times": {"threshold": 0, "entries": []},
        "io_rate": {"pg_stats_delta": {**_NO_PLACEMENT, "stamp_delta": _NO_TIME}},
        "pg_progress": {"pgs": {}, "osd_stats": [], "pg_ready": True},
        "active_clean_pgs": {"pg_stats": [], "total_num_pgs": 0},
    }
)
"""The documents by name. Each is a read-only dictionary."""


def empty_documents(fsid: str) -> dict[str, Any]:
    """Return ``EMPTY_CEPH_DOCUMENTS`` of the cluster ``fsid``."""
    empty = dict(EMPTY_CEPH_DOCUMENTS)
    for name in ("mon_map", "osd_map"):
        empty[name] = freeze({**empty[name], "fsid": fsid})
    status = {**_MON_STATUS, "monmap": {**_MON_MAP, "fsid": fsid}}
    return {**empty, "mon_status": freeze({"json": json.dumps(status)})}


EMPTY_CEPH_TEXTS: Final[Mapping[str, str]] = {"osdmap_crush_map_text": ""}
"""The documents that are texts."""
