"""The health checks that are raised, their sources and mutes, and the overall state.

Checks are kept in memory for one term: after a failover modules raise theirs again, and until
then the checks restored from the last term are shown. Mutes are stored. When a mute expires with
its check, the board shows that at once; the caller writes the change to the store
(``mute_updates``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from mgr.health.check import Check, Severity
from mgr.health.mute import Mute, mute_after

MANAGER_SOURCE: Final = "mgr"
"""The manager itself as a source of checks. It comes after all modules."""

log = logging.getLogger(__name__)


class Board:
    """Every check that is raised now. Only the event loop may use it."""

    def __init__(self) -> None:
        """Begin with no check and no mute."""
        self._sources: dict[str, tuple[Check, ...]] = {}
        self._restored: set[str] = set()
        self._checks: dict[str, Check] = {}
        self._seen: set[str] = set()
        self._stored: Mapping[str, Mute] = {}
        self._mutes: dict[str, Mute] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def checks(self) -> Mapping[str, Check]:
        """The raised checks by code, muted or not."""
        return self._checks

    @property
    def mutes(self) -> Mapping[str, Mute]:
        """The mutes by code, whether or not the check is raised."""
        return self._mutes

    def set(self, source: str, checks: Iterable[Check]) -> None:
        """Replace the checks that ``source`` (a module, or ``MANAGER_SOURCE``) raises."""
        new_checks = tuple(checks)
        self._restored.discard(source)
        before = self._sources.get(source, ())
        self._sources[source] = new_checks
        if before != new_checks:
            self._merge()

    def clear(self, source: str) -> None:
        """Remove the checks of ``source``, because its module stopped."""
        self._restored.discard(source)
        if self._sources.pop(source, ()):
            self._merge()

    def restore(self, source: str, checks: Iterable[Check]) -> None:
        """Show ``checks`` for ``source`` until it raises its own, or ``expire_restored``."""
        if source not in self._sources:
            self.set(source, checks)
            self._restored.add(source)

    def expire_restored(self) -> None:
        """Remove the restored checks of every source that has not raised its own since."""
        for source in tuple(self._restored):
            self.clear(source)

    def checks_by_module(self) -> dict[str, tuple[Check, ...]]:
        """Return the checks of each module, restored ones included; not the manager's own."""
        return {
            source: checks
            for source, checks in self._sources.items()
            if checks and source != MANAGER_SOURCE
        }

    def load_mutes(self, stored: Mapping[str, Mute], written: Collection[str] = ()) -> None:
        """Replace the mutes by ``stored``, the records under ``keys.mutes`` by code.

        A mute that expired here stays expired while its record is unchanged: the removal is being
        written. The codes in ``written`` were written since; their mutes count even if their
        records equal the earlier ones.
        """
        remaining = {
            code: mute
            if code in written or self._stored.get(code) != mute
            else self._mutes.get(code)
            for code, mute in stored.items()
        }
        self._stored = dict(stored)
        before = self._mutes
        self._mutes = {code: mute for code, mute in remaining.items() if mute is not None}
        self._update_mutes()
        if self._mutes != before:
            self._notify_listeners()

    def mute_updates(self) -> dict[str, Mute | None]:
        """Return the mutes whose records must change, by code; None: delete the record."""
        return {
            code: self._mutes.get(code)
            for code, mute in self._stored.items()
            if self._mutes.get(code) != mute
        }

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change of checks or mutes."""
        self._listeners.append(listener)

    def status(self) -> Severity:
        """Return the severity of the worst check that is not muted."""
        return max(
            (check.severity for code, check in self._checks.items() if code not in self._mutes),
            default=Severity.OK,
        )

    def summary(self) -> dict[str, Any]:
        """Return the document without details: ``health`` in JSON."""
        return self._document(detailed=False)

    def detail(self) -> dict[str, Any]:
        """Return the document with details: ``health detail`` in JSON."""
        return self._document(detailed=True)

    def as_document(self) -> dict[str, Any]:
        """Return the document that a module reads as ``get('health')``, not yet as JSON text."""
        return self.detail()

    def _document(self, *, detailed: bool) -> dict[str, Any]:
        checks = {}
        for code, check in self._checks.items():
            shown: dict[str, Any] = {
                "severity": str(check.severity),
                "summary": {"message": check.summary, "count": check.count},
            }
            if detailed:
                shown["detail"] = [{"message": line} for line in check.detail]
            checks[code] = shown | {"muted": code in self._mutes}
        mutes = [
            {"code": code}
            | ({"ttl": mute.until} if mute.until else {})
            | {"sticky": mute.sticky, "summary": mute.summary, "count": mute.count}
            for code, mute in sorted(self._mutes.items())
        ]
        return {"status": str(self.status()), "checks": checks, "mutes": mutes}

    def _merge(self) -> None:
        merged: dict[str, Check] = {}
        for source in sorted(self._sources, key=lambda name: (name == MANAGER_SOURCE, name)):
            for check in self._sources[source]:
                known = merged.get(check.code)
                merged[check.code] = known.merged_with(check) if known else check
        if merged == self._checks:
            return
        self._checks = dict(sorted(merged.items()))
        self._seen |= merged.keys()
        self._update_mutes()
        self._notify_listeners()

    def _update_mutes(self) -> None:
        for code, mute in tuple(self._mutes.items()):
            check = self._checks.get(code)
            if check is None and code not in self._seen:
                # This manager has just taken over, and the check's source may not have raised it
                # yet: that it is missing does not end the mute.
                continue
            left = mute_after(mute, check)
            if left is None:
                log.info("mute expired", extra={"code": code})
                del self._mutes[code]
            else:
                self._mutes[code] = left

    def _notify_listeners(self) -> None:
        for listener in self._listeners:
            listener()
