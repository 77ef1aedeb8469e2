"""Which process of a manager is at the near end of a connection: its guard or its worker."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

GUARD: Final = "guard"
WORKER: Final = "worker"
LOOPBACK: Final = {"tcp": "0100007F", "tcp6": "0000000000000000FFFF00000100007F"}
"""127.0.0.1 as the kernel writes it. gRPC connects to it from sockets of both families."""


def inode(near_port: int, far_port: int) -> str:
    """The socket of the process that connected from ``near_port``; empty if it has gone."""
    for table, loopback in LOOPBACK.items():
        wanted = [f"{loopback}:{port:04X}" for port in (near_port, far_port)]
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[1:3] == wanted:
                return fields[9]
    return ""


def holds(pid: int, socket_inode: str) -> bool:
    """Whether a process has this socket open."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(_target(each) == f"socket:[{socket_inode}]" for each in descriptors)


def party(guard_pid: int, below: Iterable[int], socket_inode: str) -> str:
    """``guard`` or ``worker``, or empty if neither has this socket.

    ``below`` are the guard's descendants. The guard comes first: a child has its parent's sockets
    until it runs its own program.
    """
    if not socket_inode:
        return ""
    if holds(guard_pid, socket_inode):
        return GUARD
    return WORKER if any(holds(pid, socket_inode) for pid in below) else ""


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""
