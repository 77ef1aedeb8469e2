"""A cluster's answers for the dashboard module, in place of a manager."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    "last_change": {
        "at": "2026-01-01T00:00:00+00:00",
        "from": "b",
        "to": "a",
        "reason": "reaped",
        "summary": "mgr.b lost its worker, which died",
        "asked_by": "",
        "unled_s": 0.044,
    },
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
HISTORY = [
    {"term": TERM, "name": "a", "host": "host-a", "version": "0.1.0",
     "from": "2026-01-01T00:00:00+00:00", "to": None, "lasted_s": None, "reason": "leading",
     "why": "", "cause": "", "asked_by": "", "ended_by": "", "summary": "mgr.a leads",
     "unled_before_s": 0.044},
    {"term": 4000, "name": "b", "host": "host-b", "version": "0.1.0",
     "from": "2025-12-31T20:00:00+00:00", "to": "2026-01-01T00:00:00+00:00", "lasted_s": 14400.0,
     "reason": "reaped", "why": "", "cause": "killed by signal 9 (SIGKILL)", "asked_by": "",
     "ended_by": "b", "summary": "mgr.b lost its worker, which died", "unled_before_s": 0.012},
    {"term": 3000, "name": "c", "host": "host-c", "version": "0.1.0",
     "from": "2025-12-30T20:00:00+00:00", "to": "2025-12-31T20:00:00+00:00", "lasted_s": 86400.0,
     "reason": "resigned", "why": "mgr fail by ada", "cause": "", "asked_by": "ada",
     "ended_by": "c", "summary": "mgr.c handed over leadership: mgr fail by ada",
     "unled_before_s": None},
]  # fmt: skip
MODULES = {
    "always_on_modules": ["crash"],
    "force_disabled_modules": [],
    "enabled_modules": ["dashboard", "hello"],
    "disabled_modules": [{"name": "selftest"}],
    "quarantined_modules": {"forker": "it ended 3 workers in 10 minutes"},
    "module_effects": {"hello": {"effects": "store", "source": "module"}},
}
OPTION = {
    "place": {"name": "place", "type": "str", "level": "advanced", "flags": 1,
              "default_value": "World", "min": "", "max": "", "enum_allowed": [],
              "desc": "Whom to greet by default", "long_desc": "", "tags": [], "see_also": []},
    "pause": {"name": "pause", "type": "secs", "level": "advanced", "flags": 0,
              "default_value": "30", "min": "1", "max": "3600", "enum_allowed": [],
              "desc": "Between two", "long_desc": "", "tags": [], "see_also": []},
    "emphatic": {"name": "emphatic", "type": "bool", "level": "advanced", "flags": 1,
                 "default_value": "True", "min": "", "max": "", "enum_allowed": [],
                 "desc": "End with a mark", "long_desc": "", "tags": [], "see_also": []},
}  # fmt: skip
HELP = {
    "name": "mgr/hello/place", "type": "str", "level": "advanced", "desc": "Whom to greet",
    "long_desc": "", "default": "World", "min": "", "max": "", "enum_values": [],
    "can_update_at_runtime": True,
}  # fmt: skip
CONFIG_LOG = [
    {"version": 2, "timestamp": "2026-01-01T00:00:00+00:00", "name": "", "changes": [
        {"name": "mgr/mgr/hello/place", "previous_value": "World", "new_value": "Rome"}]},
    {"version": 1, "timestamp": "2026-01-01T00:00:00+00:00", "name": "", "changes": [
        {"name": "mgr/mgr/hello/place", "new_value": "World"}]},
]  # fmt: skip
CRASH = {
    "crash_id": "2026-01-01T00:00:00.000000Z_1", "timestamp": "2026-01-01T00:00:00.000000Z",
    "entity_name": "mgr.b", "mgr_module": "hello", "backtrace": ["line 1", "ValueError: <b>no</b>"],
}  # fmt: skip
RUNNING = [
    {"command": "hello wait", "module": "hello", "thread": "hello-commands", "state": "runs",
     "since": "2026-01-01T00:00:00+00:00", "age_s": 3.5, "client": "ada"},
]  # fmt: skip
AUDIT = [
    {"id": f"{TERM}-{number}", "at": "2026-01-01T00:00:00+00:00", "who": "ada", "kind": "token",
     "address": "10.0.0.9", "command": "config set", "arguments": {"name": "x", "value": "<u>1"},
     "outcome": outcome, "retval": 0, "detail": "", "count": 1, "term": TERM}
    for number, outcome in enumerate(("done", "refused"))
]  # fmt: skip
TABLE = {
    "status": "r", "mgr history": "r", "mgr fail": "rw", "health": "r", "health mute": "rw",
    "health unmute": "rw", "mgr module ls": "r", "mgr module enable": "rw",
    "mgr module disable": "rw", "mgr module reload": "rw", "mgr module release": "rw",
    "daemon ls": "r", "daemon rm": "rw", "map ls": "r", "map get": "r", "map rm": "rw",
    "config dump": "r", "config log": "r", "config set": "rw", "config rm": "rw",
    "config reset": "rw", "crash ls": "r", "crash info": "r", "crash rm": "rw",
    "crash archive": "rw", "crash archive-all": "rw", "log last": "r",
    "get_command_descriptions": "r", "command ls": "r", "audit ls": "r",
}  # fmt: skip


def commands(table: Mapping[str, str] = TABLE) -> dict[str, Any]:
    """Return an answer of ``get_command_descriptions``."""
    return {
        f"cmd{number:03}": {"sig": words.split(), "help": f"help of {words}", "perm": perm}
        for number, (words, perm) in enumerate(table.items())
    }


def answer(host: Any) -> None:
    """Have the manager of ``host`` answer the commands that the pages read."""
    documents = {
        "status": STATUS,
        "health": HEALTH,
        "mgr metadata": [manager("a", 1), manager("b", 2), manager("c", 3, warm=False)],
        "etcd status": ETCD,
        "log last": LOG,
        "config dump": [
            {
                "section": "mgr",
                "name": "mgr/hello/place",
                "value": "<i>Rome</i>",
                "level": "advanced",
                "can_update_at_runtime": True,
                "mask": "",
            },
        ],
        "config ls": ["mgr/hello/place", "mgr_tick_period"],
        "config help": HELP,
        "config log": CONFIG_LOG,
        "mgr history": HISTORY,
        "command ls": RUNNING,
        "audit ls": AUDIT,
        "mgr module ls": MODULES,
        "map ls": [{"name": "racks", "version": 17, "bytes": 21}],
        "map get": {"r1": ["<h1>"]},
        "crash ls": [CRASH],
        "crash info": CRASH,
        "get_command_descriptions": commands(),
    }
    host.context.people.known_commands = frozenset(TABLE)
    known = host.module.get("mgr_map")
    known["available_modules"] = [
        {"name": name, "can_run": name != "selftest", "error_string": "",
         "module_options": OPTION if name == "hello" else {}}
        for name in ("crash", "dashboard", "forker", "hello", "selftest")
    ]  # fmt: skip
    known["services"] = {"dashboard": "http://127.0.0.1:7490/", "hello": "http://10.0.0.1:7491/"}
    host.maps["mgr_map"] = known
    for prefix, document in documents.items():
        host.answer(prefix, stdout=json.dumps(document))
