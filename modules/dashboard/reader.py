"""Reads the cluster for the pages: each value with its source and the moment it was read.

Values are shared by all open pages and read again when a page needs them and they are too old. A
value that cannot be read keeps its last content and its old moment, and gets the reason: no page
may look current that is not.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mgr_module import MgrModule

SHARED_S: Final = 0.9
"""A value younger than this is shared: open pages look once a second."""
DAEMONS_S: Final = 1.9
"""Ten thousand daemons are read and sorted in 20 ms."""
STALE_S: Final = 6.0
COST_SHARE: Final = 0.05
"""Reading one value may take at most this share of a core: an expensive one is read less often."""
FAILED: Final = -errno.EIO


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it is from.

    Attributes:
        source: Where the value was read, in words for people.
        at: When it was true, in seconds since 1970; 0 if it was never read.
        trouble: Why it could not be read again; empty if it could.
        stale_after_s: From this age on a page does not show it as current.

    """

    value: Any
    source: str
    at: float
    trouble: str = ""
    stale_after_s: float = STALE_S

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return self.at > 0


class CommandError(Exception):
    """A command failed; the text is what it said."""


@dataclass(eq=False)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    current: Sourced | None = None
    fresh_until: float = 0.0


class Reader:
    """Reads and shares values. Thread-safe."""

    def __init__(self, module: MgrModule) -> None:
        """Read by the interface of ``module``."""
        self._module = module
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    # -- values ---------------------------------------------------------------------------------

    def shared(
        self, name: str, source: str, read: Callable[[], Any], *, for_s: float = SHARED_S
    ) -> Sourced:
        """Return the value ``name``, read again by ``read`` if it is older than ``for_s``."""
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
        with entry.lock:
            now = time.monotonic()  # noqa: TID251 - a module has no other clock
            if entry.current is not None and now < entry.fresh_until:
                return entry.current
            entry.current = self._read(entry.current, source, read)
            took_s = time.monotonic() - now  # noqa: TID251 - as above
            lasts_s = max(for_s, took_s / COST_SHARE)
            entry.fresh_until = now + lasts_s
            entry.current = replace(entry.current, stale_after_s=max(STALE_S, 3 * lasts_s))
            return entry.current

    def _read(self, before: Sourced | None, source: str, read: Callable[[], Any]) -> Sourced:
        at = time.time()  # noqa: TID251 - shown to people
        try:
            value = read()
        except Exception as error:  # noqa: BLE001 - shown in place of the value
            if before is None:
                return Sourced(None, source, 0.0, str(error))
            return Sourced(before.value, source, before.at, str(error))
        if isinstance(value, Sourced):
            return value
        return Sourced(value, source, at)

    # -- commands -------------------------------------------------------------------------------

    def command(self, prefix: str, **arguments: Any) -> Any:
        """Run a command that reads, as this manager; return its JSON document.

        Raises:
            CommandError: It failed.

        """
        if not self.current:
            # A command would wait for seconds, and every open page with it.
            raise CommandError("etcd does not answer this manager")
        result = self._module.mon_command({"prefix": prefix, "format": "json", **arguments})
        if result.retval:
            raise CommandError(result.stderr or errno.errorcode.get(-result.retval, "it failed"))
        return json.loads(result.stdout) if result.stdout else None

    def has(self, prefix: str) -> bool:
        """Return whether there is a command ``prefix`` that can be run now."""
        return prefix in self.commands()

    def commands(self) -> Mapping[str, Mapping[str, Any]]:
        """Return every command by its words: arguments, help and permission."""
        found = self.shared("commands", "command table", self._command_table, for_s=5.0).value
        return found or {}

    def _command_table(self) -> dict[str, Any]:
        described = self.command("get_command_descriptions")
        table = {}
        for each in described.values():
            words = [part for part in each["sig"] if isinstance(part, str)]
            table[" ".join(words)] = {
                "arguments": [part for part in each["sig"] if not isinstance(part, str)],
                "help": each["help"],
                "perm": each["perm"],
            }
        return dict(sorted(table.items()))

    # -- what every page shows ------------------------------------------------------------------

    def status(self) -> Sourced:
        """Return ``status``; its age is that of the manager's view of etcd."""

        def read() -> Sourced:
            found = self.command("status")
            at = time.time() - float(found.get("view_age_s") or 0)  # noqa: TID251 - for people
            return Sourced(found, "this manager's view of etcd", at)

        return self.shared("status", "this manager's view of etcd", read)

    def daemons(self) -> Sourced:
        """Return every daemon, as ``MgrModule.get_daemons`` does: osd.2 before osd.10."""

        def read() -> list[dict[str, Any]]:
            return sorted(self._module.get_daemons(), key=_natural_order)

        return self.shared("daemons", "reports to the active", read, for_s=DAEMONS_S)

    def document(self, name: str) -> Any:
        """Return one of the manager's documents, from memory."""
        return self._module.get(name)

    def metadata(self, kind: str, name: str) -> Mapping[str, str]:
        """Return what a daemon said of itself when it joined."""
        return self._module.get_metadata(kind, name) or {}

    def daemon_status(self, kind: str, name: str) -> Mapping[str, str]:
        """Return the last status of a daemon."""
        return self._module.get_daemon_status(kind, name) or {}

    def counters(
        self, kind: str, name: str
    ) -> list[tuple[str, Mapping[str, Any], list[list[float]]]]:
        """Return path, schema and last points of each counter of a daemon, important ones first."""
        schemas = self._module.get_unlabeled_perf_schema(kind, name).get(f"{kind}.{name}", {})
        ordered = sorted(schemas, key=lambda path: (-int(schemas[path].get("priority", 0)), path))
        return [
            (path, schemas[path], self._module.get_unlabeled_counter(kind, name, path)[path])
            for path in ordered
        ]

    @property
    def current(self) -> bool:
        """Whether this manager's view of etcd is current."""
        return self._module.have_mon_connection()


def _natural_order(daemon: Mapping[str, Any]) -> tuple[str, int, str]:
    name: str = daemon["id"]
    return daemon["type"], int(name) if name.isdecimal() else -1, name
