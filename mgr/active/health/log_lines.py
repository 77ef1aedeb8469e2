"""Writes a line to the cluster log when a health check is raised, changed or cleared.

``mgrctl -w`` and modules that are notified of ``clog`` see health only by these lines. The texts
are Ceph's. Changes within a second become one line each, and a check whose summary keeps changing
is logged every five seconds, so that it does not displace all other lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from mgr.clock import Clock
from mgr.cluster.log import ClusterLog, Priority
from mgr.health.board import Board
from mgr.health.check import Check, Severity

ROUND_S: Final = 1.0
"""Shortest time between two rounds of lines."""
UPDATE_EVERY_S: Final = 5.0
"""Shortest time between two lines about changes of one raised check."""
NAMED_MAX: Final = 100
"""Lines of one round; the rest of it is one line with their number."""


class HealthLog:
    """Compares the board with what was logged last, and logs the difference."""

    def __init__(self, board: Board, log: ClusterLog, clock: Clock, *, name: str) -> None:
        """Write to ``log`` as ``name`` (``mgr.a``) what changes on ``board``."""
        self._board = board
        self._log = log
        self._clock = clock
        self._name = name
        self._logged: dict[str, Check] = {}
        self._updated_s: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def follow(self) -> None:
        """Follow the board. Checks restored from the last term were logged in it."""
        restored = {
            check.code for checks in self._board.checks_by_module().values() for check in checks
        }
        self._logged = {
            code: check for code, check in self._board.checks.items() if code in restored
        }
        self._board.on_change(self._changed.set)
        self._changed.set()

    async def run(self) -> None:
        """Log changes for as long as the term lasts."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._closed:
                return
            self.write()
            await asyncio.sleep(ROUND_S)

    def close(self) -> None:
        """Log the last changes and then none: modules that stop clear their checks."""
        if not self._closed:
            self.write()
        self._closed = True
        self._changed.set()

    def write(self) -> None:
        """Log the differences between the board and what was logged last."""
        now = self._board.checks
        lines = [*self._raised(now), *self._cleared(now)]
        for text, priority in lines[:NAMED_MAX]:
            self._log.add(text, name=self._name, priority=priority)
        if (more := len(lines) - NAMED_MAX) > 0:
            text = f"{more} more health checks changed: see 'mgrctl health detail'"
            self._log.add(text, name=self._name, priority=Priority.WARNING)
        if lines and not now:
            self._log.add("Cluster is now healthy", name=self._name)

    def _raised(self, now: Mapping[str, Check]) -> list[tuple[str, Priority]]:
        lines = []
        for code, check in now.items():
            before = self._logged.get(code)
            if before is not None and _same_line(before, check):
                continue
            if before is not None and not self._may_update(code):
                # Not lost: the next round compares again.
                self._changed.set()
                continue
            self._logged[code] = check
            what = "failed" if before is None else "update"
            priority = Priority.ERROR if check.severity is Severity.ERR else Priority.WARNING
            lines.append((f"Health check {what}: {_one_line(check.summary)} ({code})", priority))
        return lines

    def _cleared(self, now: Mapping[str, Check]) -> list[tuple[str, Priority]]:
        lines = []
        for code in self._logged.keys() - now.keys():
            was = _one_line(self._logged.pop(code).summary)
            self._updated_s.pop(code, None)
            lines.append((f"Health check cleared: {code} (was: {was})", Priority.INFO))
        return sorted(lines)

    def _may_update(self, code: str) -> bool:
        now_s = self._clock.now()
        if now_s - self._updated_s.get(code, -UPDATE_EVERY_S) < UPDATE_EVERY_S:
            return False
        self._updated_s[code] = now_s
        return True


def _same_line(before: Check, check: Check) -> bool:
    return (before.summary, before.severity) == (check.summary, check.severity)


def _one_line(text: str) -> str:
    return " ".join(text.split())
