"""Child processes and listening sockets of modules: the worker knows whose they are.

A module may leave them behind when it is stopped: a process goes on acting, and a socket keeps its
port and lets clients wait. As ``bridge.track_module_threads`` does for threads, the functions of
Python that make them are replaced by ones that note the module whose thread calls. What a module
starts in another way (a library in C, a child that itself starts a process and ends) is not known
as its own; ``unaccounted_processes`` has those whose parent has ended.
"""

from __future__ import annotations

import _posixsubprocess
import os
import socket
import subprocess
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import ReferenceType, ref

from mgr.host.bridge import current_module

MAKE_PROCESSES: Final = (
    (os, "fork"),
    (os, "posix_spawn"),
    (os, "posix_spawnp"),
    (_posixsubprocess, "fork_exec"),
    (subprocess, "_fork_exec"),
)
"""The functions that return the number of a new child."""
HELPERS: Final = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Python's own helpers: shared by the whole process, they do nothing by themselves."""
REAPER: Final = "reaper.py"
COMMAND_MAX: Final = 60
"""Characters of a command line that are shown."""
STATE: Final = 0
"""Where ``/proc/<pid>/stat`` has it, counted from behind the name."""
STARTED: Final = 19
"""The same for the time of the start, which tells a process from a later one of its number."""
ENDED: Final = frozenset("ZX")


class _Process(NamedTuple):
    module: str
    started: str


_processes: Final[dict[int, _Process]] = {}
# A list, which any thread may append to while another one reads it; a set could not be read then.
_sockets: Final[list[tuple[str, ReferenceType[socket.socket]]]] = []


def track_module_resources() -> None:
    """Note every child process and listening socket of a module, from now on. Call it once."""
    for owner, name in MAKE_PROCESSES:
        if make := getattr(owner, name, None):
            setattr(owner, name, _noting(make))
    listen = socket.socket.listen

    def listen_noted(self: socket.socket, *backlog: int) -> None:
        listen(self, *backlog)
        if module := current_module():
            _sockets.append((module, ref(self)))

    setattr(socket.socket, "listen", listen_noted)  # noqa: B010 - typed as not assignable


def left_processes() -> dict[str, list[str]]:
    """Return the living processes that modules started, by module: number and command line."""
    found: dict[str, list[str]] = {}
    for pid, process in sorted(_processes.copy().items()):
        fields = _stat(pid)
        if fields is None or fields[STATE] in ENDED or fields[STARTED] != process.started:
            _processes.pop(pid, None)
        elif not any(helper in (command := _command(pid)) for helper in HELPERS):
            found.setdefault(process.module, []).append(f"{pid} ({command[:COMMAND_MAX]})")
    return found


def left_sockets() -> dict[str, list[str]]:
    """Return the addresses on which sockets of modules listen, by module."""
    found: dict[str, list[str]] = {}
    for entry in tuple(_sockets):
        module, opened = entry
        listening = opened()
        if listening is None or listening.fileno() < 0:
            _sockets.remove(entry)
        elif address := _address(listening):
            found.setdefault(module, []).append(address)
    return {module: sorted(addresses) for module, addresses in found.items()}


def unaccounted_processes() -> list[str]:
    """Return processes that something in this worker started and whose parent has ended.

    They are children of the reaper now, and which module they belong to is not known.
    """
    reaper = os.getppid()
    if REAPER not in _command(reaper):
        return []
    children = Path(f"/proc/{reaper}/task/{reaper}/children")
    pids = map(int, children.read_text().split()) if children.exists() else ()
    orphans = [pid for pid in pids if pid != os.getpid() and pid not in _processes]
    return [f"{pid} ({_command(pid)[:COMMAND_MAX]})" for pid in orphans]


def _noting(make: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(make)
    def noted(*args: Any, **kwargs: Any) -> Any:
        pid = make(*args, **kwargs)
        # Zero in the child itself.
        if pid and (module := current_module()) and (fields := _stat(pid)):
            _processes[pid] = _Process(module, fields[STARTED])
        return pid

    return noted


def _address(listening: socket.socket) -> str:
    try:
        name = listening.getsockname()
    except OSError:
        return ""
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"{host}:{name[1]}"
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of a process behind its name; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _command(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return ""
    return text.decode(errors="replace").strip()
