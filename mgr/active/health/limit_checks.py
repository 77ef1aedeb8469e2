"""Checks for modules that reached a limit of theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mgr.health.check import Check, Severity

MODULE_MEMORY: Final = "MGR_MODULE_MEMORY"
MODULE_OPEN_FILES: Final = "MGR_MODULE_OPEN_FILES"
MODULE_PROCESSES: Final = "MGR_MODULE_PROCESSES"
MODULE_COMMAND_TIME: Final = "MGR_MODULE_COMMAND_TIME"
CODES: Final = (MODULE_MEMORY, MODULE_OPEN_FILES, MODULE_PROCESSES, MODULE_COMMAND_TIME)


def limit_checks(reached: Iterable[tuple[str, str, str]]) -> list[Check]:
    """Return a warning for each kind of limit that modules reached lately.

    ``reached`` has the module, the end of the code, and what happened.
    """
    lines: dict[str, list[str]] = {}
    for module, kind, text in sorted(reached):
        lines.setdefault(f"MGR_MODULE_{kind}", []).append(f"Module '{module}' {text}")
    return [
        Check(
            code=code,
            severity=Severity.WARN,
            summary=found[0] if len(found) == 1 else f"{len(found)} mgr modules reached a limit",
            count=len(found),
            detail=tuple(found),
        )
        for code in CODES
        if (found := lines.get(code))
    ]
