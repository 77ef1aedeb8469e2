"""The check for modules that are quarantined because workers died of them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

from mgr.health.check import Check, Severity

MODULE_QUARANTINED: Final = "MGR_MODULE_QUARANTINED"


def quarantine_checks(quarantined: Mapping[str, str], enabled: Container[str]) -> list[Check]:
    """One check while modules are quarantined: which, why, how to release them.

    An error if one of them is enabled, since it is missed; a warning otherwise.
    """
    lines = tuple(f"Module '{name}' is {why}" for name, why in quarantined.items())
    if not lines:
        return []
    missed = any(name in enabled for name in quarantined)
    return [
        Check(
            code=MODULE_QUARANTINED,
            severity=Severity.ERR if missed else Severity.WARN,
            summary=lines[0] if len(lines) == 1 else f"{len(lines)} mgr modules are quarantined",
            count=len(lines),
            detail=lines,
        )
    ]
