"""Groups of cgroup v2 for modules' processes, where this manager may make them.

It may where an operator names a folder (the setting ``module_cgroup``), and where systemd delegates
the group of its service (``Delegate=``). There the processes of the service move into a group
beside those of modules first: a group with limits for its children has no processes of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mgr.config.module_limits import ModuleLimits

ROOT: Final = Path("/sys/fs/cgroup")
CONTROLLERS: Final = ("memory", "pids", "cpu")
MANAGER_GROUP: Final = "manager"
"""Where the processes of the service itself are."""
DELEGATED: Final = "user.delegate"
"""The attribute by which systemd marks a group that it has delegated."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GroupEvents:
    """How often the kernel enforced a limit of a group."""

    oom_kills: int = 0
    refused_processes: int = 0


NO_EVENTS: Final = GroupEvents()


class ModuleGroup:
    """The group of one module's process and of all that this starts."""

    def __init__(self, folder: Path, controllers: frozenset[str]) -> None:
        """Use ``folder``, which exists, and the limits of ``controllers``."""
        self._folder = folder
        self.controllers = controllers

    def add(self, pid: int) -> None:
        """Move a process into the group.

        Raises:
            OSError: The kernel refuses it.

        """
        (self._folder / "cgroup.procs").write_text(str(pid))

    def set_limits(self, limits: ModuleLimits) -> None:
        """Enforce ``limits`` from now on.

        Raises:
            OSError: The kernel refuses it.

        """
        memory = str(limits.memory_bytes) if limits.memory_bytes else "max"
        processes = str(limits.processes) if limits.processes else "max"
        if "memory" in self.controllers:
            self._write("memory.max", memory)
            # Memory that was moved to the disk is not given back either.
            for name, text in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                with suppress(OSError):
                    self._write(name, text)
        if "pids" in self.controllers:
            self._write("pids.max", processes)
        if "cpu" in self.controllers:
            self._write("cpu.weight", str(limits.cpu_weight))

    def events(self) -> GroupEvents:
        """Return how often the kernel enforced a limit so far."""
        return GroupEvents(
            oom_kills=self._count("memory.events", "oom_kill"),
            refused_processes=self._count("pids.events", "max"),
        )

    def remove(self) -> None:
        """Remove the group once its processes have ended."""
        with suppress(OSError):
            self._folder.rmdir()

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def _count(self, name: str, event: str) -> int:
        with suppress(OSError, ValueError):
            for line in (self._folder / name).read_text().splitlines():
                key, _, count = line.partition(" ")
                if key == event:
                    return int(count)
        return 0


class ModuleGroups:
    """Makes groups below one folder."""

    def __init__(self, folder: Path) -> None:
        """Make them below ``folder``, with every controller that it has."""
        self._folder = folder
        self.controllers = frozenset(CONTROLLERS) & frozenset(_controllers(folder))

    def make(self, module: str, pid: int) -> ModuleGroup:
        """Make a group for the process ``pid`` of ``module`` and move it there.

        Raises:
            OSError: The kernel refuses it.

        """
        folder = self._folder / f"mgr-module-{module}-{pid}"
        folder.mkdir(exist_ok=True)
        group = ModuleGroup(folder, self.controllers)
        try:
            group.add(pid)
        except OSError:
            group.remove()
            raise
        return group


def find_groups(chosen: str, own: Path | None = None) -> ModuleGroups | None:
    """Return where groups may be made; None: nowhere, and limits are enforced in other ways.

    ``chosen`` is the folder that an operator named. Without one it is the group of this service,
    ``own``, if systemd has delegated it.
    """
    folder = Path(chosen) if chosen else _delegated(own or own_group())
    if folder is None:
        return None
    try:
        if not chosen:
            _make_room(folder)
        _enable(folder)
        groups = ModuleGroups(folder)
    except OSError as error:
        fields = {"folder": str(folder), "error": str(error)}
        log.warning("no cgroups for modules: limits are enforced in other ways", extra=fields)
        return None
    if not groups.controllers:
        fields = {"folder": str(folder), "error": f"it has none of {', '.join(CONTROLLERS)}"}
        log.warning("no cgroups for modules: limits are enforced in other ways", extra=fields)
        return None
    return groups


def own_group() -> Path | None:
    """Return the folder of this process's group of cgroup v2; None where there is none."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, names, path = line.split(":", 2)
            if number == "0" and not names and (ROOT / "cgroup.controllers").exists():
                return ROOT / path.lstrip("/")
    return None


def _delegated(own: Path | None) -> Path | None:
    """Return the delegated group: the own one, or the one above (``DelegateSubgroup=``)."""
    for folder in (own, own.parent) if own is not None else ():
        with suppress(OSError):
            if os.getxattr(folder, DELEGATED) == b"1" and os.access(folder, os.W_OK):
                return folder
    return None


def _make_room(folder: Path) -> None:
    """Move the processes of ``folder`` itself into a group below it."""
    pids = list(_processes(folder))
    if not pids:
        return
    below = folder / MANAGER_GROUP
    below.mkdir(exist_ok=True)
    for pid in pids:
        with suppress(ProcessLookupError):
            (below / "cgroup.procs").write_text(str(pid))


def _enable(folder: Path) -> None:
    """Let the groups below ``folder`` have limits."""
    control = folder / "cgroup.subtree_control"
    enabled = control.read_text().split()
    for name in CONTROLLERS:
        if name in (folder / "cgroup.controllers").read_text().split() and name not in enabled:
            control.write_text(f"+{name}")


def _controllers(folder: Path) -> list[str]:
    return (folder / "cgroup.subtree_control").read_text().split()


def _processes(folder: Path) -> Iterator[int]:
    for line in (folder / "cgroup.procs").read_text().split():
        yield int(line)
