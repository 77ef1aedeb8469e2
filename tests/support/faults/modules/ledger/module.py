"""Keeps a ledger, acts outside, and breaks in every way when asked to."""

import asyncio
import ctypes
import errno
import gc
import json
import os
import signal
import socket
import threading
from collections.abc import Callable

from mgr_module import CLIReadCommand, CLIWriteCommand, HandleCommandResult, MgrModule, Option

HOG = 30_000_000
BLOCK_S = 10.0


class Module(MgrModule):
    """``ledger`` commands; every entry carries the term in which it was written."""

    EFFECTS = os.environ.get("MGR_LAB_EFFECTS", "external")
    MODULE_OPTIONS = (Option("sink", default="", runtime=True),)

    @CLIWriteCommand("ledger put")
    def put(self, key: str, value: str) -> HandleCommandResult:
        """Write an entry."""
        self.set_store(f"entry/{key}", f"{self.get_term()} {value}")
        return HandleCommandResult()

    @CLIWriteCommand("ledger rm")
    def remove(self, key: str) -> HandleCommandResult:
        """Remove an entry; no error where there is none."""
        self.set_store(f"entry/{key}", None)
        return HandleCommandResult()

    @CLIWriteCommand("ledger flash")
    def flash(self, key: str, wait_s: float) -> HandleCommandResult:
        """Wait, then write an entry and remove it at once."""
        threading.Event().wait(wait_s)
        self.put(key, "flash")
        return self.remove(key)

    @CLIReadCommand("ledger get")
    def read_key(self, key: str) -> HandleCommandResult:
        """Read an entry."""
        found = self.get_store(f"entry/{key}")
        if found is None:
            return HandleCommandResult(-errno.ENOENT, stderr=f"no entry {key!r}")
        return HandleCommandResult(stdout=found.partition(" ")[2])

    @CLIWriteCommand("ledger act")
    def act(self, token: str) -> HandleCommandResult:
        """Do something outside, then count it. Deliberately not idempotent."""
        term = self.get_term()
        if not self._effect(f"{term} {token}"):
            return HandleCommandResult(-errno.ESTALE, stderr=f"term {term} is over outside")
        count = int((self.get_store(f"token/{token}") or "0 0").partition(" ")[2]) + 1
        self.set_store(f"token/{token}", f"{term} {count}")
        return HandleCommandResult(stdout=str(count))

    @CLIReadCommand("ledger counts")
    def counts(self) -> HandleCommandResult:
        """How often each token was counted."""
        found = self.get_store_prefix("token/")
        return HandleCommandResult(
            stdout=json.dumps(
                {key.removeprefix("token/"): int(n.partition(" ")[2]) for key, n in found.items()}
            )
        )

    @CLIWriteCommand("ledger break")
    def break_(self, how: str) -> HandleCommandResult:
        """Die, eat memory, hold the interpreter, or keep the event loop from turning."""
        ways: dict[str, Callable[[], object]] = {
            "segfault": lambda: ctypes.string_at(0),
            "abort": lambda: os.kill(os.getpid(), signal.SIGABRT),
            # Not by os._exit, from which the worker keeps its modules.
            "exit": lambda: ctypes.CDLL(None)._exit(0),
            "eat": _eat,
            "hog": lambda: (3**HOG) % 7,
            "block": _block,
        }
        ways[how]()
        return HandleCommandResult()

    def _effect(self, line: str) -> bool:
        sink = str(self.get_module_option("sink") or "")
        if not sink:
            return True
        with socket.socket(socket.AF_UNIX) as there:
            there.settimeout(5)
            there.connect(sink)
            there.sendall(f"{line}\n".encode())
            return there.recv(16) == b"done\n"


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1)) * (8 << 20))


def _block() -> None:
    for loop in gc.get_objects():
        if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_running():
            loop.call_soon_threadsafe(threading.Event().wait, BLOCK_S)
