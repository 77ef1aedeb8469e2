"""Child processes that cannot outlive the test: killed by id in the end, or by the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mgr.clock import CLOCK

# Between fork and exec gRPC would tidy up its threads in the child, and hang there now and then:
# what is started here never returns to gRPC.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

WORKER: Final = "mgr.worker"
"""The module that a worker runs, as its command line shows."""
REAPER: Final = "reaper.py"
"""The program between guard and worker, whose command line ends with the worker's."""
HELPER: Final = "lab-helper"
"""What a process calls itself that a module of the laboratory has forked."""
OTHERS: Final = frozenset({HELPER, "mgr-zygote", "mgr-module"})
_PR_SET_PDEATHSIG: Final = 1
_PORTS: Final = range(20_000, 32_000)
_GIVEN: Final[set[int]] = set()
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process with its parent; for between fork and exec."""
    # Nothing but a system call may happen there.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a process group of its own, its output appended to ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else {**os.environ, **environment},
            process_group=0,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no Python after it
        )


def end(process: subprocess.Popen[bytes], *, patience_s: float = 5.0) -> None:
    """Ask ``process`` to stop, then make it; reaped when this returns."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(5)


def children(pid: int) -> list[int]:
    """The ids of the processes that ``pid`` started and that still exist."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    # A thread that ends meanwhile gives its children to another one; those of the others count.
    return [
        int(child) for task in tasks for child in _read(pid, f"task/{task.name}/children").split()
    ]


def below(pid: int) -> list[int]:
    """Every living process below ``pid``, children first, then theirs."""
    return [found for found in descendants(pid) if not gone(found)]


def worker_of(guard: int) -> int | None:
    """The worker of the manager whose guard is ``guard``, if there is one: below its reaper."""
    return next((pid for reaper in children(guard) for pid in children(reaper)), None)


def descendants(pid: int) -> list[int]:
    """The ids of everything below ``pid``: children first, then theirs."""
    found: list[int] = []
    below = children(pid)
    while below:
        found += below
        below = [child for each in below for child in children(each)]
    return found


def workers(guard_pid: int) -> list[int]:
    """The workers of a guard, wherever below it; one at most that lives.

    What a module forked has its worker's command line, and names itself ``HELPER``. So have the
    zygotes and the processes of modules, with names of their own.
    """
    found = [
        pid
        for pid in descendants(guard_pid)
        if WORKER in (line := command_line(pid))
        # Not the reaper, if it has just killed its worker: to stop or kill that would be another
        # fault, which leaves what the worker had started to nobody.
        and not any(word.endswith(REAPER) for word in line)
        and name_of(pid) not in OTHERS
        and not gone(pid)
    ]
    # Whatever else stands between the two may have the same command line: the lowest is it.
    return found[-1:]


def command_line(pid: int) -> list[str]:
    """The words that a process was started with; none for one that is gone."""
    return _read(pid, "cmdline").split("\0")[:-1]


def name_of(pid: int) -> str:
    """What a process calls itself; empty for one that is gone."""
    return _read(pid, "comm").rstrip("\n")


def marked(variable: str, value: str) -> dict[int, str]:
    """Every process with ``variable`` in the environment it was started with, and its value.

    Only those whose value begins with ``value``. A process that was forked has its parent's.
    """
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        for entry in _read(int(folder.name), "environ").split("\0"):
            if entry.startswith(f"{variable}={value}"):
                found[int(folder.name)] = entry.partition("=")[2]
    return {pid: value for pid, value in found.items() if not gone(pid)}


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty for one that is gone."""
    pairs = (entry.partition("=") for entry in _read(pid, "environ").split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text(errors="replace")
    except OSError:
        return ""


def gone(pid: int) -> bool:
    """Whether no process has this id, or only a zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses.

    Given out once, and outside of what the kernel gives to connections: until its server
    listens, nobody else takes it.
    """
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def deadline(seconds: float) -> float:
    """The moment, on the boot clock, ``seconds`` from now."""
    return CLOCK.now() + seconds
