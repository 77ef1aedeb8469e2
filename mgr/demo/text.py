"""The texts that the demo prints: the active, the addresses, and what to try."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mgr.client.messages import ManagerInfo
from mgr.demo.machine import DASHBOARD_PORTS, HELLO_PORTS, HOST, HOSTS


def what_to_try(active: ManagerInfo, standbys: Sequence[ManagerInfo], guard: int) -> str:
    """Return the text with the active, the addresses and five things to try.

    ``guard`` is the process id of the active's ``mgrd``.
    """
    standby = standbys[0]
    page = f"http://{HOST}:{HELLO_PORTS[standby.name]}/"
    binaries = shlex.quote(str(Path(sys.executable).parent))
    others = "".join(
        f"{other.name} stands by: gRPC {other.grpc_address}, HTTP {other.http_address}\n"
        for other in standbys
    )
    return f"""\
{active.name} leads, term {active.term}: gRPC {active.grpc_address}, HTTP {active.http_address}
{others}
In another terminal:

  export PATH=$PATH:{binaries} MGR_HOSTS={",".join(HOSTS)}

  1. Ask the module hello:
       mgrctl hello Ada
  2. Change one of its options, and ask again:
       mgrctl config set mgr mgr/hello/place Rome; mgrctl hello
  3. Kill the active's worker (its guard is process {guard}), and see another lead:
       kill -9 {worker_of(guard)}; mgrctl mgr stat
  4. Ask a standby for the module's page; it sends you to the active:
       curl -L {page}
  5. Follow the cluster log:
       mgrctl -w

Pages for a browser: mgrctl mgr module enable dashboard, then open http://{HOST}:{DASHBOARD_PORTS[active.name]}/

Ctrl-C stops all of it; the data stay for the next start."""


def worker_of(guard: int) -> int:
    """Return the process id of a guard's worker, child of its reaper; the guard's id if none."""
    reapers = _children(guard)
    workers = _children(reapers[-1]) if reapers else []
    return workers[0] if workers else guard


def _children(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in found.split()]


def exit_text(status: int) -> str:
    """Describe in words how a process ended."""
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def short_path(path: Path) -> str:
    """Return ``path`` relative to the working directory, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
