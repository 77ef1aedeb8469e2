"""Makes Ceph's documents, as ``get`` has them in ceph-mgr, from answers of a cluster's commands.

Pure: the module sends what ``QUERIES`` lists and passes the decoded answers on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

OSD: Final = "osd"
FS: Final = "fs"
MON: Final = "mon"
PG: Final = "pg"

DEVICE: Final = "device "
"""Beginning of the names of documents about one device."""

MONITORS: Final = "mon"
MANAGER: Final = "mgr"
Documents = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One command whose answer documents are made from.

    Attributes:
        name: The answer's name in what ``documents_of`` takes.
        command: The command and its arguments; JSON is asked for.
        to: Whom it is sent to, ``mon`` or ``mgr``.
        leader: The monitor that leads has to answer, and no other one.

    """

    name: str
    command: Mapping[str, Any]
    to: str = MONITORS
    leader: bool = False


def _query(prefix: str, to: str = MONITORS, *, leader: bool = False, **arguments: Any) -> Query:
    return Query(prefix, {"prefix": prefix, **arguments}, to, leader)


STATUS: Final = _query("status")
"""Small: the epochs of the maps, which tell what has to be read again."""
HEALTH: Final = _query("health", detail="detail")
QUERIES: Final[Mapping[str, Sequence[Query]]] = {
    OSD: (
        _query("osd dump"),
        _query("osd tree"),
        _query("osd crush dump"),
        _query("osd metadata"),
    ),
    FS: (_query("fs dump"), _query("mds metadata")),
    MON: (_query("mon dump"), _query("mon metadata"), _query("mon_status", leader=True)),
    PG: (
        _query("pg dump", MANAGER),
        _query("osd pool stats", MANAGER),
        _query("device ls", MANAGER),
        _query("df", detail="detail"),
    ),
}
"""What is asked for each group of documents. What needs Ceph's own manager is in ``pg`` only."""


def epochs_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by group, what is different when its documents have to be made again."""
    return {
        OSD: status["osdmap"]["epoch"],
        FS: status["fsmap"]["epoch"],
        MON: (status["monmap"]["epoch"], status["election_epoch"]),
    }


def leader_of(status: Mapping[str, Any]) -> str:
    """Return the name of the monitor that leads: the first one of the quorum."""
    return str(status["quorum_names"][0])


def documents_of(group: str, answers: Mapping[str, Any]) -> Documents:
    """Make the documents of a group from the answers to its queries, by their prefixes."""
    return _MAKERS[group](answers)


def status_documents(status: Mapping[str, Any]) -> Documents:
    """Make the documents that the status itself contains."""
    return {"pg_status": status["pgmap"]}


def _osd_documents(answers: Mapping[str, Any]) -> Documents:
    return {
        "osd_map": answers["osd dump"],
        "osd_map_tree": answers["osd tree"],
        "osd_map_crush": answers["osd crush dump"],
        "osd_metadata": {
            str(one["id"]): _texts(one, without="id") for one in answers["osd metadata"]
        },
    }


def _fs_documents(answers: Mapping[str, Any]) -> Documents:
    return {
        "fs_map": answers["fs dump"],
        "mds_metadata": _by_name(answers["mds metadata"]),
    }


def _mon_documents(answers: Mapping[str, Any]) -> Documents:
    return {
        "mon_map": answers["mon dump"],
        "mon_status": {"json": json.dumps(answers["mon_status"])},
        # ceph-mgr has no such document, but answers ``get_metadata`` for monitors as for others.
        "mon_metadata": _by_name(answers["mon metadata"]),
    }


def _pg_documents(answers: Mapping[str, Any]) -> Documents:
    dump = answers["pg dump"]
    ready, pg_map = dump.get("pg_ready", True), dump.get("pg_map", dump)
    pgs = pg_map["pg_stats"]
    devices = answers["device ls"]
    return {
        "pg_ready": {"pg_ready": ready},
        "pg_dump": pg_map,
        "pg_stats": {"pg_stats": pgs},
        "pool_stats": {"pool_stats": pg_map["pool_stats"]},
        "osd_stats": {"osd_stats": pg_map["osd_stats"]},
        "io_rate": {"pg_stats_delta": pg_map["pg_stats_delta"]},
        "pg_summary": pg_summary(pgs, pg_map["pg_stats_sum"]),
        "pg_progress": {"pgs": {pg["pgid"]: _progress(pg) for pg in pgs}, "pg_ready": ready},
        "active_clean_pgs": active_clean(pgs),
        "osd_pool_stats": {"pool_stats": answers["osd pool stats"]},
        "df": answers["df"],
        "devices": {"devices": devices},
        **{DEVICE + one["devid"]: {"device": one} for one in devices},
    }


def devices_gone(published: Mapping[str, Any]) -> Documents:
    """Return an empty document for each device in ``published``, in case it is there no more."""
    return {name: {} for name in published if name.startswith(DEVICE)}


def pg_summary(pgs: Sequence[Mapping[str, Any]], total: Any) -> Documents:
    """Count placement groups by state: for each OSD and each pool, and in all."""
    by_osd: dict[str, Counter[str]] = {}
    by_pool: dict[str, Counter[str]] = {}
    everything: Counter[str] = Counter()
    for pg in pgs:
        state = pg["state"]
        everything[state] += 1
        by_pool.setdefault(pg["pgid"].partition(".")[0], Counter())[state] += 1
        for osd in pg["acting"]:
            by_osd.setdefault(str(osd), Counter())[state] += 1
    return {
        "by_osd": {osd: dict(counts) for osd, counts in by_osd.items()},
        "by_pool": {pool: dict(counts) for pool, counts in by_pool.items()},
        "all": dict(everything),
        "pg_stats_sum": total,
    }


def active_clean(pgs: Sequence[Mapping[str, Any]]) -> Documents:
    """List the placement groups that are active and clean."""
    clean = [
        {key: pg[key] for key in ("pgid", "state", "reported_epoch")}
        for pg in pgs
        if {"active", "clean"} <= set(pg["state"].split("+"))
    ]
    return {"pg_stats": clean, "total_num_pgs": len(pgs)}


def _progress(pg: Mapping[str, Any]) -> Documents:
    return {
        "num_bytes_recovered": pg["stat_sum"]["num_bytes_recovered"],
        "up": pg["up"],
        "acting": pg["acting"],
        "reported_epoch": pg["reported_epoch"],
        "state": pg["state"],
    }


def _by_name(daemons: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    # One that has not told anything of itself yet has no name.
    return {one["name"]: _texts(one, without="name") for one in daemons if "name" in one}


def _texts(metadata: Mapping[str, Any], *, without: str) -> dict[str, str]:
    """Return metadata of a daemon as ceph-mgr has it: texts, and not its own name."""
    return {name: str(value) for name, value in metadata.items() if name != without}


_MAKERS: Final = {
    OSD: _osd_documents,
    FS: _fs_documents,
    MON: _mon_documents,
    PG: _pg_documents,
}
