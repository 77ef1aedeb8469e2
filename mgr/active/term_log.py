"""What the active writes of itself into the cluster log: why it leads, when it may not act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mgr.clock import Clock
from mgr.cluster.log import ClusterLog, Priority

SUSPENDED: Final = frozenset({"suspended", "suspended_starting"})
"""The guard's words for a term whose proof has run out."""


class TermLog:
    """The story of one term, for whoever follows the cluster log."""

    def __init__(self, log: ClusterLog, manager: str, clock: Clock) -> None:
        """Write into ``log`` on behalf of ``manager``."""
        self._log = log
        self._manager = manager
        self._clock = clock
        self._suspended_s: float | None = None

    def term_started(self, predecessor_end: str, *, planned: bool, unloaded: Sequence[str]) -> None:
        """The term begins: how the last one ended (empty: there was none), what did not load."""
        self._write(f"Activating manager daemon {self._manager}")
        if predecessor_end:
            self._write(predecessor_end, Priority.INFO if planned else Priority.WARNING)
        if unloaded:
            self._write(f"Failed to load ceph-mgr modules: {', '.join(unloaded)}", Priority.ERROR)

    def modules_available(self) -> None:
        """Every module is there, or its time is up."""
        self._write(f"Manager daemon {self._manager} is now available")

    def module_failed(self, module: str, error: str) -> None:
        """The ``serve`` of a module raised."""
        own = f"mgr.{self._manager}"
        self._write(
            f"Unhandled exception from module '{module}' while running on {own}: {error}",
            Priority.ERROR,
        )

    def phase_changed(self, phase: str) -> None:
        """Its guard is in ``phase``: say when the proof of the term ran out, and when it is back.

        What is written meanwhile, followers read at once: the log is in memory.
        """
        now_s = self._clock.now()
        if phase in SUSPENDED and self._suspended_s is None:
            self._suspended_s = now_s
            self._write(
                f"Manager daemon {self._manager} is suspended: etcd did not confirm its term in "
                "time. Commands are held",
                Priority.WARNING,
            )
        elif phase not in SUSPENDED and self._suspended_s is not None:
            lasted_s, self._suspended_s = now_s - self._suspended_s, None
            self._write(f"Manager daemon {self._manager} is {phase} again after {lasted_s:.1f} s")

    def _write(self, line: str, priority: Priority = Priority.INFO) -> None:
        self._log.add(line, name=f"mgr.{self._manager}", priority=priority)
