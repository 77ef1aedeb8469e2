"""The memory in which a worker records what its modules do, for whoever examines its death.

Guard and worker share it: the kernel keeps it when the worker dies, however it dies. It has a
fixed size. The worker writes two things there.

- *Steps*: before module code runs, which module it is, what it is asked (to be imported,
  constructed, to serve ...) and on which thread. ``mgr.host.steps`` writes them.
- *Stacks*: what ``faulthandler`` writes at a fatal signal or when the watchdog asks.

This file has the layout, and what the guard reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

HEADER_BYTES: Final = 64
STEP: Final = struct.Struct("=QQQB63s40s")
"""One step: number, thread, kernel's thread id, kind, module, detail. Number 0: not in use."""
STEPS_MAX: Final = 128
STACKS_AT: Final = HEADER_BYTES + STEPS_MAX * STEP.size
SIZE: Final = 1 << 18
OWN_EXIT: Final = b"exits"
"""Stands at the beginning once the worker has decided by itself to exit."""


class StepKind(IntEnum):
    """What a module is being asked."""

    IMPORT = 1
    CONSTRUCT = 2
    SERVE = 3
    COMMAND = 4
    NOTIFY = 5
    SHUTDOWN = 6
    REMOTE = 7

    @property
    def words(self) -> str:
        """Say it in the middle of a sentence: ``while being imported``."""
        return _WORDS[self]


_WORDS: Final = {
    StepKind.IMPORT: "while being imported",
    StepKind.CONSTRUCT: "in its constructor",
    StepKind.SERVE: "in serve()",
    StepKind.COMMAND: "in a command",
    StepKind.NOTIFY: "in notify()",
    StepKind.SHUTDOWN: "in shutdown()",
    StepKind.REMOTE: "in a call of another module",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was in progress.

    Attributes:
        number: Grows with each step: of two on one thread the higher one began later.
        thread: As ``threading.get_ident``.
        native_id: As ``threading.get_native_id``.
        detail: The command, for a command.

    """

    number: int
    thread: int
    native_id: int
    kind: StepKind
    module: str
    detail: str = ""


class WorkerTrace:
    """The guard's end of the shared memory. Its file descriptor goes to the worker."""

    def __init__(self) -> None:
        """Reserve it.

        Raises:
            OSError: The system will not.

        """
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        self.fd = os.memfd_create("mgr-worker-trace", flags)
        os.ftruncate(self.fd, SIZE)
        # Whatever writes there, a dump of stacks included, it stays as large as it is.
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        # The position is shared with the worker: faulthandler writes where it stands.
        os.lseek(self.fd, STACKS_AT, os.SEEK_SET)

    def forget_stacks(self) -> None:
        """Make room for the next dump."""
        if self.fd >= 0:
            os.pwrite(self.fd, bytes(SIZE - STACKS_AT), STACKS_AT)
            os.lseek(self.fd, STACKS_AT, os.SEEK_SET)

    def read(self) -> bytes:
        """Return everything; nothing if it is closed."""
        if self.fd < 0:
            return b""
        with contextlib.suppress(OSError):
            return os.pread(self.fd, SIZE, 0)
        return b""

    def close(self) -> None:
        """Let go of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def own_exit(content: bytes) -> bool:
    """Whether the worker had decided by itself to exit."""
    return content.startswith(OWN_EXIT)


def steps_in_progress(content: bytes) -> list[Step]:
    """Return the steps that were in progress, the earliest first; torn ones are left out."""
    found = []
    for place in range(HEADER_BYTES, min(STACKS_AT, len(content) - STEP.size + 1), STEP.size):
        number, thread, native_id, kind, module, detail = STEP.unpack_from(content, place)
        if number and kind in _KINDS:
            found.append(
                Step(number, thread, native_id, StepKind(kind), _text(module), _text(detail))
            )
    return sorted(found, key=lambda step: step.number)


def stacks_text(content: bytes) -> str:
    """Return what ``faulthandler`` wrote, which contains no zero byte."""
    end = content.find(b"\0", STACKS_AT)
    return _text(content[STACKS_AT : end if end >= 0 else None])


_KINDS: Final = frozenset(StepKind)


def _text(content: bytes) -> str:
    return content.rstrip(b"\0").decode(errors="replace")
