"""The identity of this process and the description of its host."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mgr.clock import timestamp
from mgr.election.records import Presence

FROM_RELEASE: Final = {
    "distro": "ID",
    "distro_version": "VERSION_ID",
    "distro_description": "PRETTY_NAME",
}
"""Fields of the host's description, and their names in ``/etc/os-release``."""
FROM_MEMORY: Final = {"mem_total_kb": "MemTotal", "mem_swap_kb": "SwapTotal"}
"""The same for ``/proc/meminfo``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessIdentity:
    """Identifies a guard process. Fields as in ``Presence``; ``version`` is its mgrd version.

    Attributes:
        machine: The description of the host that ``mgr metadata`` shows.

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
        """Return the identity of this process, read from the kernel."""
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
        """Whether the process that wrote ``other`` has certainly ended, or is this one.

        That can be checked only for a process of this kernel and namespace. The end of any other
        process cannot be proven here; its lease has to expire.
        """
        if (other.boot_id, other.pid_namespace) != (self.boot_id, self.pid_namespace):
            return False
        if self.same_process(other):
            return True
        return process_start_time(other.pid) != other.pid_started


def process_start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it has ended or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may contain anything, blanks and parentheses included.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def host_metadata() -> dict[str, str]:
    """Describe this host as ``mgr metadata`` shows it; field names are Ceph's.

    A field that cannot be determined is left out.
    """
    kernel = os.uname()
    found = {
        "arch": kernel.machine,
        "os": kernel.sysname,
        "kernel_version": kernel.release,
        "kernel_description": kernel.version,
        "python_version": platform.python_version(),
    }
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
        found |= {name: release[key] for name, key in FROM_RELEASE.items() if key in release}
    memory = _fields(Path("/proc/meminfo"))
    found |= {name: memory[key].split()[0] for name, key in FROM_MEMORY.items() if memory.get(key)}
    cpu = _fields(Path("/proc/cpuinfo")).get("model name")
    return found | ({"cpu": cpu} if cpu else {})


def _fields(file: Path) -> dict[str, str]:
    """The first value of each ``name : value`` line; none where there is no such file."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                found.setdefault(name.strip(), value.strip())
    return found
