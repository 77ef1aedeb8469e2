"""Rows of managers and of modules, made from ``mgr_map``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, object]


def managers(mgr_map: Mapping[str, Any], address_of: Callable[[str], str]) -> list[Row]:
    """Return a row for each manager, the active first: name, state, address.

    The map has the address of the active only; ``address_of`` returns that of a standby by name.
    """
    rows: list[Row] = []
    if mgr_map["active_name"]:
        state = "active" if mgr_map["available"] else "active (starting)"
        address = str(mgr_map["active_addr"]).partition("/")[0]
        rows.append({"name": mgr_map["active_name"], "state": state, "address": address})
    standbys = sorted(mgr_map["standbys"], key=lambda each: str(each["name"]))
    rows += [
        {"name": each["name"], "state": "standby", "address": address_of(each["name"])}
        for each in standbys
    ]
    return rows


def modules(mgr_map: Mapping[str, Any]) -> list[Row]:
    """Return a row for each module on the active manager's host: name, state, address, error."""
    always_on = {name for names in mgr_map["always_on_modules"].values() for name in names}
    enabled = set(mgr_map["modules"])
    rows: list[Row] = []
    for each in sorted(mgr_map["available_modules"], key=lambda each: str(each["name"])):
        name = each["name"]
        if not each["can_run"]:
            state = "cannot run"
        elif name in always_on:
            state = "always on"
        else:
            state = "enabled" if name in enabled else "disabled"
        uri = mgr_map["services"].get(name, "")
        rows.append({"module": name, "state": state, "uri": uri, "note": each["error_string"]})
    return rows
