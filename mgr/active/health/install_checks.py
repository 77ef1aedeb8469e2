"""The check of modules that were installed and are not on every manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mgr.config.installed_modules import InstalledModule, lacking
from mgr.health.check import Check, Severity
from mgr.link import ModuleReport

INSTALL_INCOMPLETE: Final = "MGR_MODULE_INSTALL_INCOMPLETE"
GRACE_S: Final = 30.0
"""A manager that has not said why it lacks a version may still be fetching it."""
SILENT: Final = "it has not said why: see its log"

Missing = tuple[str, str, str, str]
"""Module, short digest, manager and reason."""


class InstallWatch:
    """Finds installed modules that a manager lacks, once it has said why or had time to."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._since_s: dict[tuple[str, str, str], float] = {}

    def missing(
        self,
        installed: Mapping[str, InstalledModule],
        reports: Mapping[str, Sequence[ModuleReport]],
        now_s: float,
    ) -> tuple[Missing, ...]:
        """Return what is missing where, and why."""
        found: list[Missing] = []
        before, self._since_s = self._since_s, {}
        for name, record in sorted(installed.items()):
            for manager, why in sorted(lacking(name, record, reports).items()):
                key = (name, record.current.digest, manager)
                since_s = self._since_s[key] = before.get(key, now_s)
                if why or now_s - since_s >= GRACE_S:
                    found.append((name, record.current.short, manager, why or SILENT))
        return tuple(found)


def install_checks(missing: Iterable[Missing]) -> list[Check]:
    """Return a warning while managers lack modules that were installed."""
    lines = tuple(
        f"mgr.{manager} does not have module '{name}' {digest}: {why}"
        for name, digest, manager, why in missing
    )
    if not lines:
        return []
    many = f"{len(lines)} installed modules are missing on managers"
    return [
        Check(
            code=INSTALL_INCOMPLETE,
            severity=Severity.WARN,
            summary=lines[0] if len(lines) == 1 else many,
            count=len(lines),
            detail=lines,
        )
    ]
