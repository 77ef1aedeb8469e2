"""Turns the health of a Ceph cluster into checks of this module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

UNREACHABLE: Final = "MGR_CEPH_UNREACHABLE"
OF_MANAGERS: Final = "MGR_"
"""Beginning of codes about Ceph's own manager; here these would be about this one."""
CEPH: Final = "CEPH_"
DETAIL_MAX: Final = 50
"""Lines of one check that are passed on."""
_SEVERITIES: Final = {"HEALTH_ERR": "error", "HEALTH_WARN": "warning"}

Checks = dict[str, dict[str, Any]]


def unreachable(why: str) -> Checks:
    """Return the check that says why there is no connection to the cluster."""
    line = (
        "modules read the last known maps, and their commands to Ceph end with an error; check the "
        "monitors, the network to them, and the settings ceph_conf, ceph_name and ceph_keyring"
    )
    summary = f"Ceph is not reachable: {why}"
    check = {"severity": "warning", "summary": summary, "count": 1, "detail": [line]}
    return {UNREACHABLE: check}


def checks_of(health: Mapping[str, Any]) -> Checks:
    """Return the checks that Ceph has raised and that nobody muted there."""
    return {
        (CEPH + code if code.startswith(OF_MANAGERS) else code): {
            "severity": _SEVERITIES[check["severity"]],
            "summary": check["summary"]["message"],
            "count": check["summary"].get("count", 0),
            "detail": [line["message"] for line in check.get("detail", [])][:DETAIL_MAX],
        }
        for code, check in health["checks"].items()
        if not check.get("muted") and check["severity"] in _SEVERITIES
    }
