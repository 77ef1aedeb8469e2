"""Performance queries to Ceph's daemons: validated as in ceph-mgr, and always without results."""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

from mgr.module_api.declared import ActiveModuleBase

OSD_KEYS: Final = frozenset(
    {"client_id", "client_address", "pool_id", "namespace", "osd_id", "pg_id"}
    | {"object_name", "snap_id"}
)
OSD_COUNTERS: Final = frozenset(
    {"ops", "write_ops", "read_ops", "bytes", "write_bytes", "read_bytes"}
    | {"latency", "write_latency", "read_latency"}
)
MDS_KEYS: Final = frozenset({"mds_rank", "client_id"})
MDS_COUNTERS: Final = frozenset(
    {"cap_hit", "dentry_lease", "opened_files", "pinned_icaps", "opened_inodes"}
    | {"read_io_sizes", "write_io_sizes"}
    | {f"{what}_latency" for what in ("read", "write", "metadata")}
    | {f"avg_{what}_latency" for what in ("read", "write", "metadata")}
    | {f"stdev_{what}_latency" for what in ("read", "write", "metadata")}
)
_numbers: Final = itertools.count()


class PerfQueriesMixin(ActiveModuleBase):
    """Gives a module Ceph's performance queries. Their results are always empty."""

    _osd_queries: set[int]
    _mds_queries: set[int]

    def _prepare_queries(self) -> None:
        self._osd_queries = set()
        self._mds_queries = set()

    def add_osd_perf_query(self, query: dict[str, Any]) -> int | None:
        """Start a query; return its number, or log an error and return None if it is invalid."""
        return self._register_query(self._osd_queries, query, OSD_KEYS, OSD_COUNTERS)

    def remove_osd_perf_query(self, query_id: int) -> None:
        """End a query; no error if it is unknown."""
        self._osd_queries.discard(query_id)

    def get_osd_perf_counters(self, query_id: int) -> dict[str, Any] | None:
        """Return the counters by key: always empty. None if there is no such query."""
        return {"counters": []} if query_id in self._osd_queries else None

    def add_mds_perf_query(self, query: dict[str, Any]) -> int | None:
        """Start a query; return its number, or log an error and return None if it is invalid."""
        return self._register_query(self._mds_queries, query, MDS_KEYS, MDS_COUNTERS)

    def remove_mds_perf_query(self, query_id: int) -> None:
        """End a query; no error if it is unknown."""
        self._mds_queries.discard(query_id)

    def reregister_mds_perf_queries(self) -> None:
        """Do nothing: there are no daemons to send the queries to again."""

    def get_mds_perf_counters(self, query_id: int) -> dict[str, Any] | None:
        """Return delayed ranks, counters and update time: always empty.

        None if there is no such query.
        """
        return {"metrics": [[""], [], [0.0]]} if query_id in self._mds_queries else None

    def _register_query(
        self, queries: set[int], query: Any, keys: frozenset[str], counters: frozenset[str]
    ) -> int | None:
        if (wrong := _query_error(query, keys, counters)) is not None:
            self.log.error("invalid query: %s", wrong)
            return None
        number = next(_numbers)
        queries.add(number)
        return number


def _query_error(query: Any, keys: frozenset[str], counters: frozenset[str]) -> str | None:
    """Return the error of an invalid query; None if it is valid."""
    match query:
        case {"key_descriptor": [_, *_] as parts}:
            measured, limit = query.get("performance_counter_descriptors"), query.get("limit")
        case _:
            return f"no key_descriptor: {query!r}"
    for part in parts:
        match part:
            case {"type": str(kind), "regex": str(regex)} if kind in keys and _captures(regex):
                continue
            case _:
                return f"no key with a type and a regex that has a group: {part!r}"
    if not isinstance(measured, list) or not counters.issuperset(measured):
        return f"not all of these are counted: {measured!r}"
    match limit:
        case None:
            return None
        case {"order_by": str(first), "max_count": int(most)} if first in measured and most > 0:
            return None
        case _:
            return f"no limit: {limit!r}"


def _captures(regex: str) -> bool:
    try:
        return re.compile(regex).groups > 0
    except re.error:
        return False
