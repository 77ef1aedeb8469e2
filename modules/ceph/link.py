"""Sends commands to a Ceph cluster: its monitors, manager, OSDs, placement groups and MDSs."""

from __future__ import annotations

import errno
import json
import math
import threading
from collections.abc import Mapping
from typing import Any, Final

from mgr_module import MgrModule

Answer = tuple[int, str, str]
"""0 or a negative errno, data, text for people: as a module's command has it."""

UNDER_WAY_MAX: Final = 32
"""The most commands that wait for Ceph at the same time; one more is answered with ``EBUSY``. One
to an MDS that does not answer waits until that does."""
DESCRIPTIONS: Final = "get_command_descriptions"


class AbsentError(Exception):
    """Ceph did not answer a question of the module itself; the text says which and why."""


class CephLink:
    """Commands over the connection of one module. May be used from any thread."""

    def __init__(self, module: MgrModule) -> None:
        """Use ``module.rados`` and ``module.cephfs``, which connect when they are used first."""
        self._module = module
        self._under_way = 0
        self._closed = False
        self._turn = threading.Condition()
        self._changing: frozenset[str] = frozenset()

    def send(self, kind: str, name: str, command: str, inbuf: str) -> Answer:
        """Send a command, given as JSON, and wait for its answer, which is never an exception.

        ``kind`` is ``mon``, ``mgr``, ``osd``, ``pg`` or ``mds``; with an empty ``name``, any
        monitor or the active manager answers. The limit is Ceph's own: ``rados_mon_op_timeout``
        and ``rados_osd_op_timeout``.
        """
        return self._sent(kind, name, command, inbuf, under_way_max=UNDER_WAY_MAX)

    def _sent(
        self, kind: str, name: str, command: str, inbuf: str, *, under_way_max: float
    ) -> Answer:
        with self._turn:
            if self._closed:
                return -errno.ESHUTDOWN, "", "the connection to Ceph is closed"
            if self._under_way >= under_way_max:
                return -errno.EBUSY, "", f"{self._under_way} commands wait for Ceph: try again"
            self._under_way += 1
        try:
            retval, data, text = self._send(kind, name, command, inbuf.encode())
        except Exception as error:  # noqa: BLE001 - the bindings have many errors, and these have an errno
            number = getattr(error, "errno", None)
            return -abs(number) if number else -errno.EIO, "", str(error)
        finally:
            with self._turn:
                self._under_way -= 1
                self._turn.notify_all()
        return retval, _text(data), _text(text)

    def ask(self, to: str, command: Mapping[str, Any], name: str = "") -> Any:
        """Send a command of the module itself; return its answer, decoded from JSON.

        ``to`` and ``name`` are what ``send`` calls ``kind`` and ``name``.

        Raises:
            AbsentError: Ceph did not answer, or refused.

        """
        data = self._asked(to, name, {"format": "json", **command})
        try:
            return json.loads(data)
        except ValueError as error:
            raise AbsentError(f"{command['prefix']}: unreadable answer: {error}") from None

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send a command of the module itself to the monitors.

        Raises:
            AbsentError: As ``ask``.

        """
        self._asked("mon", "", command)

    def _asked(self, to: str, name: str, command: Mapping[str, Any]) -> str:
        # However many commands of modules wait: only the module's own thread asks.
        text = json.dumps(command)
        retval, data, why = self._sent(to, name, text, "", under_way_max=math.inf)
        if retval:
            named = errno.errorcode.get(-retval, str(retval))
            raise AbsentError(f"{command['prefix']}: {why or named}")
        return data

    def close(self, limit_s: float) -> bool:
        """Send nothing any more; return whether no command is under way, at the latest then.

        The connection may be closed only in that case: the library would break under the others.
        """
        with self._turn:
            self._closed = True
            return self._turn.wait_for(lambda: not self._under_way, limit_s)

    def learn_commands(self) -> None:
        """Learn which commands of the monitors change something.

        Raises:
            AbsentError: As ``ask``.

        """
        found = self.ask("mon", {"prefix": DESCRIPTIONS})
        self._changing = frozenset(
            _prefix(one["sig"]) for one in found.values() if "w" in one.get("perm", "")
        )

    def changes(self, command: str) -> bool:
        """Return whether a command of the monitors changes something, so that maps may differ."""
        return json.loads(command).get("prefix", "") in self._changing

    def _send(self, kind: str, name: str, command: str, data: bytes) -> tuple[int, Any, Any]:
        rados: Any = self._module.rados
        found: tuple[int, Any, Any]
        match kind:
            case "mon":
                found = rados.mon_command(command, data, target=name or None)
            case "mgr":
                found = rados.mgr_command(command, data, target=name or None)
            case "osd":
                found = rados.osd_command(int(name), command, data)
            case "pg":
                found = rados.pg_command(name, command, data)
            case "mds":
                found = self._module.cephfs.mds_command(name, command, data)
            case _:
                raise ValueError(f"no kind of daemon: {kind!r}")
        return found


def _prefix(signature: list[Any]) -> str:
    return " ".join(part for part in signature if isinstance(part, str))


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode(errors="replace")
