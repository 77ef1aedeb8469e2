"""Lines about the fleet in the cluster log. Events of many daemons become one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mgr.cluster.daemon import Daemon
from mgr.cluster.log import ClusterLog, Priority

NAMED_MAX: Final = 10
"""Daemons named in one line of the cluster log."""


class FleetLog:
    """Collects what happens to daemons and writes it with the fleet's next update.

    Ten thousand daemons that come back after a failover are one line, not ten thousand.
    """

    def __init__(self, log: ClusterLog, *, name: str) -> None:
        """Write to ``log``; ``name`` (``mgr.a``) is the author of the lines."""
        self._log = log
        self._name = name
        self._returned: list[str] = []
        self._clocks_off: list[str] = []

    def add_returned(self, daemon: Daemon) -> None:
        """Note that a silent daemon reports again; logged by the next ``write``."""
        self._returned.append(daemon.name)

    def add_clock_off(self, daemon: Daemon) -> None:
        """Note that a daemon's clock is off; logged by the next ``write``."""
        off_s = daemon.clock_off_s
        direction = "ahead" if off_s > 0 else "behind"
        self._clocks_off.append(f"{daemon.name} ({abs(off_s):.0f} s {direction})")

    def write(self, *, silent: Iterable[str], pruned: Iterable[str]) -> None:
        """Log the daemons that became silent or were pruned, and the noted ones."""
        self._log_daemons("silent", silent, Priority.WARNING)
        self._log_daemons("forgotten after a long silence", pruned, Priority.WARNING)
        self._log_daemons("reporting again", self._returned, Priority.INFO)
        self._log_daemons("here with a clock that is off", self._clocks_off, Priority.WARNING)
        self._returned, self._clocks_off = [], []

    def name_taken(self, daemon: Daemon, host: str) -> None:
        """Log at once that a program on ``host`` takes the name of ``daemon`` from another one."""
        self._add(
            f"{daemon.name} on '{host}' takes the place of another program of that "
            f"name, on '{daemon.record.host}'",
            Priority.WARNING,
        )

    def _log_daemons(self, state: str, names: Iterable[str], priority: Priority) -> None:
        if names := sorted(names):
            more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
            verb = "is" if len(names) == 1 else "are"
            self._add(f"{', '.join(names[:NAMED_MAX])}{more} {verb} {state}", priority)

    def _add(self, message: str, priority: Priority) -> None:
        self._log.add(message, name=self._name, priority=priority)
