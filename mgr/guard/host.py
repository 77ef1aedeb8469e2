"""The machine a manager runs on, as ``mgr metadata`` shows it; field names are Ceph's."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

FROM_RELEASE = {
    "distro": "ID",
    "distro_version": "VERSION_ID",
    "distro_description": "PRETTY_NAME",
}
FROM_MEMORY = {"mem_total_kb": "MemTotal", "mem_swap_kb": "SwapTotal"}


def host_metadata() -> dict[str, str]:
    """Everything that can be found out; a field that cannot is left out."""
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
