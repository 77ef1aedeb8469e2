"""Commands ``daemon``, ``node``, ``service`` and ``tell``: the fleet of daemons."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from mgr.access.identity import INTERNAL_CALLER
from mgr.cluster.daemon import Daemon, DaemonCommand, DaemonState
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.election.records import Presence, decode
from mgr.errors import InvalidArgumentError, NotFoundError, NotPermittedError

TELL_TIMEOUT_S: Final = 30.0
"""Time to wait for a daemon's answer to a command."""
TRACEBACK: Final = "Traceback (most recent call last)"
"""In the text with which daemons answer that their code raised."""
MANAGERS: Final = "mgr"
EVERY: Final = "all"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of these nouns."""
    noun = _Daemons(context)
    return [
        builtin(
            "daemon ls name=type,type=CephString,req=false "
            "name=host,type=CephString,req=false,positional=false",
            "list daemons: where they run and when they last reported",
            "r",
            noun.ls,
        ),
        builtin(
            "daemon rm name=name,type=CephString",
            "remove a daemon (<type>.<id>) that does not report any more",
            "rw",
            noun.rm,
        ),
        builtin(
            "node ls name=type,type=CephString,req=false",
            "list all nodes in cluster, or those with daemons of <type>",
            "r",
            noun.nodes,
        ),
        builtin("service dump", "dump service map", "r", noun.service_map),
        builtin("service status", "dump service state", "r", noun.service_status),
        builtin(
            "tell name=target,type=CephString name=args,type=CephString,n=N "
            "name=typed,type=CephString,req=false,positional=false",
            "send a command to a specific daemon",
            "rw",
            noun.tell,
            once=True,
        ),
    ]


class _Daemons:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context
        self._fleet = context.fleet

    async def ls(self, call: Call) -> Reply:
        kind, host = call.get("type", ""), call.get("host", "")
        listed = [
            {
                "name": daemon.name,
                "type": daemon.kind,
                "id": daemon.id,
                "hostname": daemon.record.host,
                "version": daemon.record.version,
                "state": daemon.state.name.lower(),
                "last_report": _stamp(daemon.reported_at),
                "since": daemon.record.since,
            }
            for daemon in self._sorted()
            if kind in {"", daemon.kind} and host in {"", daemon.record.host}
        ]
        shown = ("name", "hostname", "state", "version", "last_report")
        rows = [tuple(each[field] or "-" for field in shown) for each in listed]
        headings = ("NAME", "HOST", "STATE", "VERSION", "LAST REPORT")
        awaited = self._fleet.awaited if self._fleet.filling else 0
        note = f"{awaited} awaited since the failover" if awaited else ""
        return Reply(listed, plain=table(headings, rows), note=note)

    async def rm(self, call: Call) -> Reply:
        daemon = self._find(call["name"])
        if daemon.state is DaemonState.REPORTING and daemon.stream is not None:
            raise NotPermittedError(f"{daemon.name} reports: stop it first")
        self._fleet.forget(daemon.name)
        await self._fleet.wait_stored(daemon.name)
        return Reply(note=f"{daemon.name} is forgotten")

    async def nodes(self, call: Call) -> Reply:
        wanted = call.get("type", EVERY)
        found: dict[str, dict[str, list[str]]] = {}
        for record in self._context.mirror.list(self._context.keys.managers).values():
            if presence := decode(record.value, Presence):
                hosts = found.setdefault(MANAGERS, {})
                hosts.setdefault(presence.host, []).append(presence.name)
        for daemon in self._sorted():
            hosts = found.setdefault(daemon.kind, {})
            hosts.setdefault(daemon.record.host, []).append(daemon.id)
        return Reply(found if wanted == EVERY else found.get(wanted, {}))

    async def service_map(self, _call: Call) -> Reply:
        return Reply(self._context.maps.read("service_map"))

    async def service_status(self, _call: Call) -> Reply:
        found: dict[str, dict[str, Any]] = {}
        for daemon in self._sorted():
            stamp = _stamp(daemon.reported_at)
            found.setdefault(daemon.kind, {})[daemon.id] = {
                "status_stamp": stamp,
                "last_beacon": stamp,
                "status": dict(daemon.status),
            }
        return Reply(found)

    async def tell(self, call: Call) -> Reply:
        daemon = self._find(call["target"])
        if daemon.stream is None:
            last = _stamp(daemon.reported_at) or "none to this manager yet"
            return Reply(
                retval=-errno.EHOSTUNREACH,
                note=f"{daemon.name} is not connected; last report: {last}",
            )
        command = DaemonCommand(
            call["args"],
            _typed(call.get("typed", "")),
            call.inbuf.encode(),
            from_manager=call.caller == INTERNAL_CALLER,
        )
        answer = await daemon.stream.run_command(command, timeout_s=TELL_TIMEOUT_S)
        note = answer.stderr
        if TRACEBACK in note and not self._context.access.is_admin(call.caller):
            note = f"{daemon.name} failed at this command; administrators are shown its traceback"
        return Reply(plain=answer.stdout, note=note, retval=answer.retval, raw=True)

    def _find(self, name: str) -> Daemon:
        daemon = self._fleet.daemons.get(name)
        if daemon is None:
            raise NotFoundError(f"there is no daemon '{name}'")
        return daemon

    def _sorted(self) -> Iterable[Daemon]:
        return sorted(self._fleet.daemons.values(), key=lambda daemon: daemon.name)


def _typed(text: str) -> dict[str, Any]:
    try:
        typed = json.loads(text or "{}")
    except ValueError:
        raise InvalidArgumentError("typed: not JSON") from None
    if not isinstance(typed, dict):
        raise InvalidArgumentError("typed: not a JSON object")
    return typed


def _stamp(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
