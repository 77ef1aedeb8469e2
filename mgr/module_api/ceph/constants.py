"""Constants of Ceph that modules compare with. They do not occur in a cluster without Ceph."""

from __future__ import annotations

from typing import Final

PG_STATES: Final = [
    "active",
    "clean",
    "down",
    "recovery_unfound",
    "backfill_unfound",
    "scrubbing",
    "degraded",
    "inconsistent",
    "peering",
    "repair",
    "recovering",
    "forced_recovery",
    "backfill_wait",
    "incomplete",
    "stale",
    "remapped",
    "deep",
    "backfilling",
    "forced_backfill",
    "backfill_toofull",
    "recovery_wait",
    "recovery_toofull",
    "undersized",
    "activating",
    "peered",
    "snaptrim",
    "snaptrim_wait",
    "snaptrim_error",
    "creating",
    "unknown",
    "premerge",
    "failed_repair",
    "laggy",
    "wait",
]
"""States of a placement group, in the order in which exporters list them."""

NFS_GANESHA_SUPPORTED_FSALS: Final = ["CEPH", "RGW"]
NFS_POOL_NAME: Final = ".nfs"
