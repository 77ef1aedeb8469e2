"""Queries that daemons of Ceph would answer: kept and checked as there, answered by nobody here."""

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
    """The part of ``MgrModule`` about live queries. Whatever is asked, nothing was measured."""

    _osd_queries: set[int]
    _mds_queries: set[int]

    def _prepare_queries(self) -> None:
        self._osd_queries = set()
        self._mds_queries = set()

    def add_osd_perf_query(self, query: dict[str, Any]) -> int | None:
        """Begin a query: its number, or None and a line in the log if it makes no sense."""
        return self._register_query(self._osd_queries, query, OSD_KEYS, OSD_COUNTERS)

    def remove_osd_perf_query(self, query_id: int) -> None:
        """End a query; no error if there is none."""
        self._osd_queries.discard(query_id)

    def get_osd_perf_counters(self, query_id: int) -> dict[str, Any] | None:
        """What was measured, by key: nothing. None if there is no such query."""
        return {"counters": []} if query_id in self._osd_queries else None

    def add_mds_perf_query(self, query: dict[str, Any]) -> int | None:
        """Begin a query: its number, or None and a line in the log if it makes no sense."""
        return self._register_query(self._mds_queries, query, MDS_KEYS, MDS_COUNTERS)

    def remove_mds_perf_query(self, query_id: int) -> None:
        """End a query; no error if there is none."""
        self._mds_queries.discard(query_id)

    def reregister_mds_perf_queries(self) -> None:
        """Ask again what was asked; nobody is there to hear it."""

    def get_mds_perf_counters(self, query_id: int) -> dict[str, Any] | None:
        """Which ranks are late, what was measured, and when: none, nothing, never.

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
    """What is wrong with a query; None if nothing is."""
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
