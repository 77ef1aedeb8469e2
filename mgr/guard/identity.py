"""Which process on which machine this manager is."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mgr.clock import timestamp
from mgr.election.records import Presence
from mgr.guard.host import host_metadata


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessIdentity:
    """A process. Fields as in ``Presence``; ``version`` is the release it runs.

    Attributes:
        machine: What ``mgr metadata`` tells of the host.

    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_started: int
    started_at: str
    version: str
    machine: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_this_process(cls, version: str) -> ProcessIdentity:
        """Ask the kernel."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            boot_id=Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
            pid_namespace=str(Path("/proc/self/ns/pid").readlink()),
            pid=pid,
            pid_started=process_start_time(pid) or 0,
            started_at=timestamp(),
            version=version,
            machine=host_metadata(),
        )

    def same_process(self, other: Presence) -> bool:
        """Whether ``other`` was written by this process, or by a copy of it."""
        mine = (self.boot_id, self.pid_namespace, self.pid, self.pid_started)
        return (other.boot_id, other.pid_namespace, other.pid, other.pid_started) == mine

    def outlived(self, other: Presence) -> bool:
        """Whether ``other`` was certainly left behind by a process that is over, or by this one.

        Only a process of this very kernel and namespace can be judged. Of any other, silence
        proves nothing and its lease has to decide.
        """
        if (other.boot_id, other.pid_namespace) != (self.boot_id, self.pid_namespace):
            return False
        if self.same_process(other):
            return True
        return process_start_time(other.pid) != other.pid_started


def process_start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is over or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, blanks and parentheses included.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
