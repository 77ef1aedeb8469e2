"""Writes the events of a term into the cluster log: its start, failed modules, suspensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mgr.clock import Clock
from mgr.cluster.log import AUDIT_CHANNEL, ClusterLog, Priority

SUSPENDED: Final = frozenset({"suspended", "suspended_starting"})
"""The guard's phases in which the term is not confirmed and commands must wait."""


class TermLog:
    """Writes one term's events into the cluster log."""

    def __init__(self, log: ClusterLog, manager: str, clock: Clock) -> None:
        """Write into ``log`` on behalf of ``manager``."""
        self._log = log
        self._manager = manager
        self._clock = clock
        self._suspended_s: float | None = None
        self._why = ""

    def term_started(self, predecessor_end: str, *, planned: bool, unloaded: Sequence[str]) -> None:
        """Log the start of the term.

        With how the last term ended (empty in the first term), and the modules that did not load.
        """
        self._write(f"Activating manager daemon {self._manager}")
        if predecessor_end:
            self._write(predecessor_end, Priority.INFO if planned else Priority.WARNING)
        if unloaded:
            self._write(f"Failed to load ceph-mgr modules: {', '.join(unloaded)}", Priority.ERROR)

    def modules_available(self) -> None:
        """Log that every module has started or exceeded its load time."""
        self._write(f"Manager daemon {self._manager} is now available")

    def command_without_active(self, note: str) -> None:
        """Log a command that a manager executed before this term, while none led."""
        self._log.add(note, name=f"mgr.{self._manager}", channel=AUDIT_CHANNEL)

    def module_failed(self, module: str, error: str) -> None:
        """Log that ``serve`` of ``module`` raised ``error``."""
        own = f"mgr.{self._manager}"
        self._write(
            f"Unhandled exception from module '{module}' while running on {own}: {error}",
            Priority.ERROR,
        )

    def phase_changed(self, phase: str, why: str = "") -> None:
        """Log when the term is suspended and when it is confirmed again; the guard is in ``phase``.

        ``why`` is the cause of a suspension; a new cause is a new line.
        Followers see the lines at once even if etcd does not answer: the log is in memory.
        """
        now_s = self._clock.now()
        if phase in SUSPENDED and (self._suspended_s is None or why not in {"", self._why}):
            self._suspended_s = now_s if self._suspended_s is None else self._suspended_s
            self._why = why
            reason = why or "etcd did not confirm its term in time"
            self._write(
                f"Manager daemon {self._manager} is suspended: {reason}. Commands wait",
                Priority.WARNING,
            )
        elif phase not in SUSPENDED and self._suspended_s is not None:
            lasted_s, self._suspended_s = now_s - self._suspended_s, None
            self._write(f"Manager daemon {self._manager} is {phase} again after {lasted_s:.1f} s")

    def _write(self, line: str, priority: Priority = Priority.INFO) -> None:
        self._log.add(line, name=f"mgr.{self._manager}", priority=priority)
