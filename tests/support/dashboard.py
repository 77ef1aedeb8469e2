"""A cluster's answers for the dashboard module, in place of a manager."""

from __future__ import annotations

import json
from typing import Any

TERM = 4711


def manager(name: str, port: int, *, warm: bool = True) -> dict[str, Any]:
    """One entry of ``mgr metadata``."""
    return {
        "name": name,
        "addr": f"10.0.0.{port}:7400",
        "http_address": f"10.0.0.{port}:7480",
        "version": "0.1.0",
        "hostname": f"host-{name}",
        "warm": warm,
        "started_at": "2026-01-01T00:00:00+00:00",
    }


STATUS = {
    "cluster": "demo",
    "view_age_s": 0.1,
    "mgrmap": {
        "available": True,
        "active_name": "a",
        "active_change": "2026-01-01T00:00:00+00:00",
        "term": TERM,
        "standbys": ["b"],
        "num_standbys": 1,
        "modules": ["dashboard", "hello"],
        "services": {},
    },
}
HEALTH = {
    "status": "HEALTH_WARN",
    "checks": {
        "MGR_HELLO_NOBODY": {
            "severity": "HEALTH_WARN",
            "summary": {"message": "hello has nobody to greet", "count": 1},
            "detail": [{"message": "option mgr/hello/place is blank; <b>set it</b> to a name"}],
            "muted": False,
        }
    },
    "mutes": [],
}
ETCD = [
    {
        "endpoint": f"10.0.1.{number}:2379",
        "reachable": number < 3,
        "error": "" if number < 3 else "connection refused",
        "name": f"e{number}" if number < 3 else "",
        "version": "3.6.9",
        "leader": number == 1,
        "latency_ms": 1.25,
        "bytes": 5 << 20,
        "quota_bytes": 2 << 30,
    }
    for number in (1, 2, 3)
]
LOG = [
    {"name": "mgr.a", "stamp": "2026-01-01T00:00:00+00:00", "seq": number, "channel": "cluster",
     "priority": priority, "message": message}
    for number, (priority, message) in enumerate(
        (
            ("[INF]", "Activating manager daemon a"),
            ("[WRN]", "mgr.b lost its worker, which died"),
            ("[INF]", "Manager daemon a is now available"),
            ("[ERR]", "<script>alert(1)</script>"),
        )
    )
]  # fmt: skip
TABLE = {
    "status": "r", "mgr history": "r", "mgr fail": "rw", "health": "r", "health mute": "rw",
    "health unmute": "rw", "mgr module ls": "r", "mgr module enable": "rw",
    "mgr module disable": "rw", "mgr module reload": "rw", "mgr module release": "rw",
    "daemon ls": "r", "daemon rm": "rw", "map ls": "r", "map get": "r", "map rm": "rw",
    "config dump": "r", "config log": "r", "config set": "rw", "config rm": "rw",
    "config reset": "rw", "crash ls": "r", "crash info": "r", "crash rm": "rw",
    "crash archive": "rw", "crash archive-all": "rw", "log last": "r",
    "get_command_descriptions": "r",
}  # fmt: skip


def commands() -> dict[str, Any]:
    """Return an answer of ``get_command_descriptions``."""
    return {
        f"cmd{number:03}": {"sig": words.split(), "help": f"help of {words}", "perm": perm}
        for number, (words, perm) in enumerate(TABLE.items())
    }


def answer(host: Any) -> None:
    """Have the manager of ``host`` answer the commands that the pages read."""
    documents = {
        "status": STATUS,
        "health": HEALTH,
        "mgr metadata": [manager("a", 1), manager("b", 2), manager("c", 3, warm=False)],
        "etcd status": ETCD,
        "log last": LOG,
        "config dump": [],
        "get_command_descriptions": commands(),
    }
    for prefix, document in documents.items():
        host.answer(prefix, stdout=json.dumps(document))
