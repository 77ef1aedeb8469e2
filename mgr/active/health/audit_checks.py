"""The health check of the audit's sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mgr.health.check import Check, Severity

AUDIT_SINK: Final = "MGR_AUDIT_SINK"


def audit_checks(trouble: str, troubles: Mapping[str, str]) -> list[Check]:
    """Return a check while sinks of the active keep no records.

    ``trouble`` is about the required ones: an error, because nothing can be changed meanwhile.
    ``troubles`` are all of them, by name.
    """
    if not troubles:
        return []
    lines = tuple(f"audit sink '{name}': {why}" for name, why in sorted(troubles.items()))
    summary = f"changes are refused: {trouble}" if trouble else f"{lines[0]}: records are missing"
    return [
        Check(
            code=AUDIT_SINK,
            severity=Severity.ERR if trouble else Severity.WARN,
            summary=summary,
            count=len(lines),
            detail=lines,
        )
    ]
