"""The agent's state that has to survive its restart: one small file.

The file is replaced atomically and before anything is done: an order that was answered is in it.
It holds secrets of daemons, so that what runs can be started again while every manager is dead;
only the agent's own user may read it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from mgr.agent.deploy.config import DaemonConfig
from mgr.errors import InvalidSettingError

FILE: Final = "state.json"
KEYS_MAX: Final = 1000
"""How many keys of applied orders are remembered: far more than are under way at a time."""


class Record(msgspec.Struct, kw_only=True):
    """One daemon of this host.

    Attributes:
        revision: What it is to be.
        running: Whether it is to run; stopped daemons stay known.
        removed: It is to go; it stays known until nothing is left of it.
        pid: The process that runs, 0 if none is known.
        ticks: When that process started, in the kernel's ticks: tells it from a later one.
        began: The revision that was started last.
        began_kind: Its kind, which may be another one now.

    """

    config: DaemonConfig
    revision: str
    running: bool = True
    removed: bool = False
    pid: int = 0
    ticks: int = 0
    began: str = ""
    began_kind: str = ""


class _Content(msgspec.Struct, kw_only=True):
    term: int = 0
    start: int = 0
    daemons: dict[str, Record] = {}
    keys: list[str] = []


class StateFile:
    """The state of one agent.

    Attributes:
        term: The newest term in which a manager gave orders.
        start: When this agent started, as a number that grows with each start.
        daemons: What is deployed, by name.

    """

    def __init__(self, folder: Path, now: int) -> None:
        """Read the state in ``folder``, which is made if it is not there; ``now`` is a clock's.

        Raises:
            InvalidSettingError: The folder cannot be used, or the file is damaged.

        """
        self._file = folder / FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = self._read()
        except OSError as error:
            raise InvalidSettingError(f"deploy: folder {folder}: {error.strerror}") from None
        self.term = content.term
        # The clock may have been set back since the last start.
        self.start = max(now, content.start + 1)
        self.daemons = content.daemons
        self._keys = dict.fromkeys(content.keys)

    def applied(self, key: str) -> bool:
        """Return whether the order with this key was applied before."""
        return key in self._keys

    def add_key(self, key: str) -> None:
        """Remember the key of an order that is applied now."""
        self._keys[key] = None
        while len(self._keys) > KEYS_MAX:
            del self._keys[next(iter(self._keys))]

    def save(self) -> None:
        """Write the file; it is on the disk when this returns.

        Raises:
            OSError: It cannot be written; the file before is unchanged.

        """
        content = _Content(
            term=self.term, start=self.start, daemons=self.daemons, keys=list(self._keys)
        )
        new = self._file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(content))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    def _read(self) -> _Content:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Content)
        except FileNotFoundError:
            return _Content()
        except msgspec.DecodeError as error:
            raise InvalidSettingError(
                f"{self._file} is damaged: {error}; move it away, and the managers deploy again"
            ) from None
