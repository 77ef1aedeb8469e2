"""Writers frozen between the last look and the sending, who wake when a successor leads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from mgr.failpoint import VARIABLE, Point
from mgr.store.api import Created, Delete, Put, Revision, Store
from mgr.store.keys import Keys
from tests.support import process
from tests.support.faults.writer import KEY, WRITTEN
from tests.support.tree import ROOT

GROUP = 100
"""Freezes of one cluster name; then another, so that no key's history grows for ever."""


@dataclass
class Findings:
    """What came of the freezes."""

    freezes: int = 0
    accepted: int = 0
    """Late writes that stand in the store, or that their writer was told stand there."""
    describe: dict[str, int] = field(default_factory=dict)
    """How often the writer was told what."""


class Frozen:
    """A writer to be frozen again and again. Use as a context manager."""

    def __init__(self, endpoint: str, directory: Path, *, guarded: bool = True) -> None:
        """Write to ``endpoint``; without ``guarded``, as a build whose writes prove no term."""
        self._point = directory / Point.WRITE
        flags = [] if guarded else ["--unguarded"]
        self._command = [sys.executable, "-P", "-m", "tests.support.faults.writer", endpoint]
        self._command += flags
        self._environment = {**os.environ, VARIABLE: str(directory), "PYTHONPATH": str(ROOT)}
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
            preexec_fn=process.die_with_parent,  # noqa: PLW1509 - one system call
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, cluster: str, term: Revision) -> None:
        """Have it begin a write for ``term``; it is frozen, ready to send, when this returns."""
        self._point.write_text("SIGSTOP", encoding="ascii")
        _pipe(self._process.stdin).write(f"{cluster} {term}\n")
        _pipe(self._process.stdin).flush()
        stopped = os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED)
        assert stopped is not None
        assert stopped.si_code == os.CLD_STOPPED, "the writer died"

    def wake(self) -> str:
        """Let it go on; what it was told of its write."""
        self._process.send_signal(signal.SIGCONT)
        return _pipe(self._process.stdout).readline().strip()


async def freeze(store: Store, frozen: Frozen, runs: int) -> Findings:
    """Freeze it ``runs`` times. In every second run the successor has written the same key."""
    found = Findings()
    lease = (await store.grant(3600)).lease
    for number in range(runs):
        keys = Keys(f"late{os.getpid()}-{number // GROUP}")
        entry = keys.entry(KEY)
        term = await store.create(keys.leader, "a", lease=lease)
        assert term is not None
        frozen.begin(keys.cluster, term)
        await store.commit([Delete(keys.leader)], when=[Created(keys.leader, term)])
        successor = await store.create(keys.leader, "b", lease=lease)
        if number % 2:
            proof = [Created(keys.leader, successor)]
            await store.commit([Put(entry, f"by term {successor}")], when=proof)
        describe = frozen.wake()
        record = await store.get(entry)
        stands = record is not None and record.value == f"by term {term}"
        found.freezes += 1
        found.accepted += stands or describe == WRITTEN
        found.describe[describe] = found.describe.get(describe, 0) + 1
        await store.commit([Delete(keys.leader)], when=[Created(keys.leader, successor)])
    return found


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
