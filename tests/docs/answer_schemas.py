"""The JSON answers of the manager's own commands, as JSON Schema: ``make docs`` writes the files.

Within a major version a field is neither removed nor given another type; fields may be added, so
the schemas allow unknown ones, while the tests of this project do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
REAL: Final[Schema] = {"type": "number"}
TRUTH: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {}
TIME: Final[Schema] = {"type": "string", "description": "wall time in ISO 8601"}


def maybe(schema: Schema) -> Schema:
    """Return a schema that also takes null."""
    return {"anyOf": [schema, {"type": "null"}]}


def some(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def by_name(schema: Schema) -> Schema:
    """Return the schema of an object with values by names that are not known before."""
    return {"type": "object", "additionalProperties": schema}


def fields(_optional: Mapping[str, Schema] | None = None, /, **required: Schema) -> Schema:
    """Return the schema of an object with these fields, and ``_optional`` ones."""
    return {
        "type": "object",
        "properties": {**required, **(_optional or {})},
        "required": list(required),
    }


def of_ceph(**required: Schema) -> Schema:
    """Return the schema of a document in Ceph's shape: these fields, and others that vary."""
    return {**fields(**required), "additionalProperties": True}


CHECK: Final = fields(
    {"detail": some(fields(message=TEXT))},
    severity={"enum": ["HEALTH_OK", "HEALTH_WARN", "HEALTH_ERR"]},
    summary=fields(message=TEXT, count=WHOLE),
    muted=TRUTH,
)
MODULE_VERSION: Final = fields(digest=TEXT, size=WHOLE, at=TIME, by=TEXT)
HEALTH: Final = fields(
    status={"enum": ["HEALTH_OK", "HEALTH_WARN", "HEALTH_ERR"]},
    checks=by_name(CHECK),
    mutes=some(fields({"ttl": TIME}, code=TEXT, sticky=TRUTH, summary=TEXT, count=WHOLE)),
)
AUDIT: Final = some(
    fields(
        {"commands": by_name(WHOLE), "last": TEXT, "unled": TRUTH},
        id=TEXT, term=WHOLE, sequence=WHOLE, at=TIME, manager=TEXT, command=TEXT, outcome=TEXT,
        who=TEXT, kind=TEXT, address=TEXT, arguments=by_name(TEXT), input_bytes=WHOLE,
        request_id=TEXT, retval=maybe(WHOLE), detail=TEXT, count=WHOLE, text=TEXT,
    )
)  # fmt: skip
DEVICES: Final = some(of_ceph(devid=TEXT, location=some(ANYTHING), daemons=some(TEXT)))
LINE: Final = fields(name=TEXT, stamp=TIME, seq=WHOLE, channel=TEXT, priority=TEXT, message=TEXT)
VALUE: Final = some(fields(name=TEXT, value=TEXT, source={"enum": ["mon", "default"]}))

SCHEMAS: Final[dict[str, Schema]] = {
    "audit follow": AUDIT,
    "audit ls": AUDIT,
    "auth get": fields(client=TEXT, caps=TEXT),
    "auth join-token create": fields(
        id=TEXT, profile=TEXT, name=TEXT, token=TEXT, expires_at=TIME
    ),
    "auth join-token ls": some(
        fields(
            id=TEXT, profile=TEXT, name=TEXT, expires_at=TIME, created_by=TEXT, used_for=TEXT
        )
    ),
    "auth ls": fields(auth_dump=some(fields(entity=TEXT, caps=fields(mgr=TEXT)))),
    "auth role ls": some(fields(role=TEXT, caps=TEXT, builtin=TRUTH)),
    "auth token create": fields(id=TEXT, token=TEXT),
    "auth token ls": some(
        fields(
            id=TEXT, client=TEXT, expires=TIME, expired=TRUTH, created=TIME, created_by=TEXT
        )
    ),
    "auth whoami": fields(
        {"names": some(TEXT), "address": TEXT}, client=maybe(TEXT), kind=TEXT, caps=TEXT
    ),
    "backup begin": fields(
        cluster=TEXT, revision=WHOLE, term=WHOLE, made_at=TIME, made_by=TEXT, etcd_cluster_id=TEXT
    ),
    "backup page": fields(
        records=some({"type": "array", "prefixItems": [TEXT, TEXT], "items": False}), after=TEXT
    ),
    "command ls": some(
        fields(
            command=TEXT, module=TEXT, thread=TEXT, state=TEXT, since=TIME, age_s=REAL, client=TEXT
        )
    ),
    **dict.fromkeys(("config apply", "config check"), fields(set=WHOLE, removed=WHOLE)),
    "config assimilate-conf": TEXT,
    "config dump": some(
        fields(
            section=TEXT, name=TEXT, value=TEXT, level=TEXT, can_update_at_runtime=TRUTH, mask=TEXT
        )
    ),
    "config generate-minimal-conf": TEXT,
    "config get": {
        "anyOf": [
            TEXT,
            by_name(
                fields(value=TEXT, section=TEXT, mask=by_name(TEXT), can_update_at_runtime=TRUTH)
            ),
        ]
    },
    "config help": fields(
        name=TEXT, type=TEXT, level=TEXT, desc=TEXT, long_desc=TEXT, default=ANYTHING,
        daemon_default=ANYTHING, tags=some(TEXT), services=some(TEXT), see_also=some(TEXT),
        enum_values=some(TEXT), min=ANYTHING, max=ANYTHING, can_update_at_runtime=TRUTH,
        flags=some(TEXT),
    ),
    "config log": some(
        fields(
            version=WHOLE, timestamp=TIME, name=TEXT, by=TEXT,
            changes=some(fields({"previous_value": TEXT, "new_value": TEXT}, name=TEXT)),
        )
    ),
    "config ls": some(TEXT),
    "config show": {"anyOf": [TEXT, VALUE]},
    "config show-with-defaults": VALUE,
    "config-key dump": by_name(TEXT),
    "config-key get": TEXT,
    "config-key ls": some(TEXT),
    "daemon ls": some(
        fields(
            name=TEXT, type=TEXT, id=TEXT, hostname=TEXT, version=TEXT, state=TEXT,
            last_report=maybe(TEXT), since=TEXT,
        )
    ),
    "device info": of_ceph(devid=TEXT, location=some(ANYTHING), daemons=some(TEXT)),
    "device ls": DEVICES,
    "device ls-by-daemon": DEVICES,
    "device ls-by-host": DEVICES,
    "etcd status": some(
        fields(
            endpoint=TEXT, reachable=TRUTH, error=TEXT, name=TEXT, version=TEXT, leader=TRUTH,
            latency_ms=REAL, bytes=WHOLE, quota_bytes=WHOLE,
        )
    ),
    "get_command_descriptions": by_name(
        of_ceph(sig=some(ANYTHING), help=TEXT, module=TEXT, perm=TEXT)
    ),
    "health": HEALTH,
    "log last": some(LINE),
    "map get": {"type": "object"},
    "map ls": some(fields(name=TEXT, version=WHOLE, bytes=WHOLE)),
    "map set": fields(name=TEXT, version=WHOLE),
    "mgr compare": fields(
        managers=some(TEXT),
        differences=some(
            fields(kind={"enum": ["version", "setting", "module"]}, name=TEXT, values=by_name(TEXT))
        ),
    ),
    "mgr count-metadata": by_name(WHOLE),
    "mgr dump": of_ceph(
        epoch=WHOLE, active_gid=WHOLE, active_name=TEXT, available=TRUTH, active_change=TEXT,
        standbys=some(of_ceph(gid=WHOLE, name=TEXT)), modules=some(TEXT),
        available_modules=some(of_ceph(name=TEXT, can_run=TRUTH)), services=by_name(TEXT),
    ),
    "mgr history": some(
        {
            "type": "object",
            "properties": {
                "term": WHOLE, "name": TEXT, "host": TEXT, "version": TEXT, "from": TIME,
                "to": maybe(TIME), "lasted_s": maybe(REAL), "reason": TEXT, "why": TEXT,
                "cause": TEXT, "asked_by": TEXT, "ended_by": TEXT, "summary": TEXT,
                "unled_before_s": maybe(REAL),
            },
            "required": ["term", "name", "from", "to", "reason", "summary", "unled_before_s"],
        }
    ),
    "mgr metadata": {
        "anyOf": [
            some(of_ceph(name=TEXT, addr=TEXT, version=TEXT, hostname=TEXT, pid=WHOLE, warm=TRUTH)),
            of_ceph(name=TEXT, addr=TEXT, version=TEXT, hostname=TEXT, pid=WHOLE, warm=TRUTH),
        ]
    },
    "mgr module info": fields(
        name=TEXT, place=TEXT, enabled=TRUTH, always_on=TRUTH, can_run=TRUTH, error=TEXT,
        effects=TEXT, effects_source=TEXT, commands=some(ANYTHING), options=some(TEXT),
        manifest=maybe({"type": "object"}), changes=some(TEXT),
    ),
    "mgr module installed": some(
        fields(
            name=TEXT, current=MODULE_VERSION, previous=maybe(MODULE_VERSION),
            missing=by_name(TEXT),
        )
    ),
    **dict.fromkeys(("module env ls", "mgr module env ls"), by_name(TEXT)),
    **dict.fromkeys(
        ("module top", "mgr module top"),
        some(
            fields(
                module=TEXT, isolation=TEXT, state=TEXT, pid=WHOLE, cpu_percent=maybe(REAL),
                resident_bytes=maybe(WHOLE), proportional_bytes=maybe(WHOLE),
                threads=maybe(WHOLE), open_files=maybe(WHOLE), waiting=WHOLE, commands_per_s=REAL,
                p99_ms=maybe(REAL), interpreter_wait_ms=maybe(REAL), restarts=WHOLE,
            )
        ),
    ),
    "mgr module ls": fields(
        always_on_modules=some(TEXT), force_disabled_modules=some(TEXT),
        enabled_modules=some(TEXT), disabled_modules=some(of_ceph(name=TEXT)),
        quarantined_modules=by_name(TEXT),
        module_effects=by_name(fields(effects=TEXT, source=TEXT)),
    ),
    "mgr services": by_name(TEXT),
    "mgr stat": fields(epoch=WHOLE, available=TRUTH, active_name=TEXT, num_standby=WHOLE),
    "mgr versions": by_name(WHOLE),
    "node ls": by_name({"anyOf": [some(TEXT), by_name(some(TEXT))]}),
    "secrets rotate": fields(data_key=TEXT),
    "secrets status": fields(enabled=TRUTH, current=TEXT, values=by_name(WHOLE), unsealed=WHOLE),
    "service dump": of_ceph(epoch=WHOLE, modified=TEXT, services={"type": "object"}),
    "service status": by_name(
        by_name(fields(status_stamp=TEXT, last_beacon=TEXT, status=by_name(TEXT)))
    ),
    "status": fields(
        cluster=TEXT,
        health=HEALTH,
        mgrmap=fields(
            available=TRUTH, active_name=TEXT, active_change=TEXT, term=WHOLE, standbys=some(TEXT),
            num_standbys=WHOLE, modules=some(TEXT), services=by_name(TEXT),
        ),
        last_change=maybe(
            {
                "type": "object",
                "properties": {
                    "at": TIME, "to": TEXT, "from": TEXT, "reason": TEXT, "summary": TEXT,
                    "asked_by": TEXT, "unled_s": maybe(REAL),
                },
                "required": ["at", "to", "from", "reason", "summary", "asked_by", "unled_s"],
            }
        ),
        progress_events=by_name({"type": "object"}),
        view_age_s=maybe(REAL),
        managers=some(
            fields(name=TEXT, address=TEXT, phase=TEXT, note=TEXT, view_age_s=maybe(REAL))
        ),
    ),
    "version": fields(version=TEXT),
}  # fmt: skip
"""By the words of the command. ``health detail`` is ``health`` with details."""

NO_DOCUMENT: Final = frozenset(
    {
        "auth caps", "auth join-token rm", "auth require", "auth rm", "auth role rm",
        "auth role set", "auth token rm", "auth unrequire", "config reset", "config rm",
        "config set", "config-key exists", "config-key rm", "config-key set", "daemon rm",
        "device rm-life-expectancy", "device set-life-expectancy", "health mute", "health unmute",
        "log", "map rm", "mgr fail", "mgr module disable", "mgr module enable",
        "mgr module env sync", "mgr module force disable", "mgr module install-package",
        "mgr module quarantine", "mgr module release", "mgr module rollback",
        "mgr module uninstall",
        "mgr module reload", "mgr set down", "module env sync", "tell",
    }
)  # fmt: skip
"""Commands that say what they did in words, or answer what somebody else says."""


def schema_files() -> dict[str, Callable[[], str]]:
    """Every schema as a file of docs/reference/schemas, by its name."""
    return {
        f"{words.replace(' ', '-')}.json": lambda words=words: _file(words)  # type: ignore[misc]
        for words in SCHEMAS
    }


def answers_page() -> str:
    """The page that lists the schemas."""
    names = {words: f"{words.replace(' ', '-')}.json" for words in SCHEMAS}
    rows = "".join(f"| `{words}` | [{name}](schemas/{name}) |\n" for words, name in names.items())
    silent = ", ".join(f"`{words}`" for words in sorted(NO_DOCUMENT))
    return f"""\
# Answers as JSON

What the manager's own commands print with `-f json`, as [JSON Schema][schema]. The tests compare
real answers with them. Written by `make docs`.

A field is neither removed nor given another type without a new major version; fields may be added,
so a program should ignore those that it does not know. Errors are
`{{"error": {{"code": ..., "errno": ..., "message": ...}}}}` on stderr
([exit status](exit-status.md)).

[schema]: https://json-schema.org/draft/2020-12/schema

| command | schema |
|---|---|
{rows}
These say in words what they did, or hand on what a daemon answers:
{silent}.
"""


def _file(words: str) -> str:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"The answer of 'mgrctl {words} -f json'",
    }
    return json.dumps(head | SCHEMAS[words], indent=2, sort_keys=False) + "\n"


def strict(schema: Any) -> Any:
    """Return ``schema`` so that it refuses fields that it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema:
        made["additionalProperties"] = False
    return made
