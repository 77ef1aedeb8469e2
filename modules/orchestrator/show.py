"""What the commands print: tables for people, JSON and YAML for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from mgr_orchestrator import (
    DaemonDescription,
    HostSpec,
    InventoryHost,
    PlannedStep,
    ServiceDescription,
)


def formatted(documents: Any, form: str, plain: str) -> str:
    """Return ``documents`` in the format ``form``, or the text ``plain``."""
    if form == "yaml":
        return yaml.safe_dump(documents, sort_keys=False, allow_unicode=True)
    if form.startswith("json"):
        return json.dumps(documents, indent=4 if form == "json-pretty" else None)
    return plain


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table with columns as wide as they have to be."""
    texts = [[str(each) if each != "" else "-" for each in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    lines = [
        "  ".join(f"{each:<{width}}" for each, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *texts)
    ]
    return "\n".join(lines)


def hosts(found: Sequence[HostSpec]) -> str:
    """Return hosts as a table."""
    rows = [(each.hostname, each.addr, " ".join(each.labels), each.status) for each in found]
    return f"{table(('HOST', 'ADDR', 'LABELS', 'STATUS'), rows)}\n{len(rows)} hosts in cluster"


def services(found: Sequence[ServiceDescription]) -> str:
    """Return services as a table."""
    if not found:
        return "No services reported"
    rows = [
        (
            each.service_name,
            each.kind,
            f"{each.running}/{each.size}",
            each.state,
            each.revision,
            each.placement,
            each.detail,
        )
        for each in found
    ]
    return table(("NAME", "KIND", "RUNNING", "STATE", "REVISION", "PLACEMENT", "DETAIL"), rows)


def daemons(found: Sequence[DaemonDescription]) -> str:
    """Return daemons as a table."""
    if not found:
        return "No daemons reported"
    rows = [
        (
            each.name(),
            each.hostname,
            ",".join(f"*:{port}" for port in each.ports),
            each.status_desc,
            each.version,
            each.restarts,
            each.detail,
        )
        for each in found
    ]
    headings = ("NAME", "HOST", "PORTS", "STATUS", "REVISION", "RESTARTS", "DETAIL")
    return table(headings, rows)


def steps(found: Sequence[PlannedStep]) -> str:
    """Return the steps of a plan as a table."""
    if not found:
        return "Nothing would be done now"
    rows = [(e.service, e.action, e.host, e.daemon, e.revision) for e in found]
    return table(("SERVICE", "STEP", "HOST", "DAEMON", "REVISION"), rows)


def devices(found: Sequence[InventoryHost]) -> str:
    """Return devices as a table."""
    rows = [
        (host.name, each["path"] or each["name"], each["device_id"], " ".join(each["daemons"]))
        for host in found
        for each in host.devices
    ]
    return table(("HOST", "PATH", "DEVICE ID", "DAEMONS"), rows) if rows else "No devices reported"
