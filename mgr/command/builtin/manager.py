"""Commands ``mgr`` and ``version``: the active manager, the standbys, and hand-over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from mgr.audit.author import author_of
from mgr.clock import timestamp, to_the_second
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.election.history import Term, terms
from mgr.election.records import Presence, decode
from mgr.errors import InvalidArgumentError, NotFoundError
from mgr.module_api.ceph.release import RELEASE, version_line

TERMS_DEFAULT: Final = 20
"""Terms that ``mgr history`` shows if no number is given."""
HISTORY: Final = ("TERM", "MANAGER", "HOST", "FROM", "LASTED", "NOBODY LED BEFORE", "HOW IT ENDED")


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Manager(context)
    return [
        builtin("mgr stat", "dump basic info about the mgr cluster state", "r", noun.stat),
        builtin(
            "mgr dump name=epoch,type=CephInt,range=0,req=false",
            "dump the latest MgrMap",
            "r",
            noun.dump,
        ),
        builtin(
            "mgr fail name=who,type=CephString,req=false "
            "name=successor,type=CephString,req=false,positional=false",
            "make the active manager give up leadership, to a named standby or to the first",
            "rw",
            noun.fail,
            once=True,
        ),
        builtin(
            "mgr set down name=down,type=CephChoices,strings=true|false",
            "make the active manager give up leadership; no manager takes it until set to false",
            "rw",
            noun.set_down,
        ),
        builtin(
            "mgr services", "list service endpoints provided by mgr modules", "r", noun.services
        ),
        builtin(
            "mgr metadata name=who,type=CephString,req=false",
            "dump metadata for all daemons or a specific daemon",
            "r",
            noun.metadata,
        ),
        builtin("mgr versions", "check running versions of the managers", "r", noun.versions),
        builtin(
            "mgr count-metadata name=property,type=CephString",
            "count the managers by a field of their metadata",
            "r",
            noun.count,
        ),
        builtin(
            "mgr history name=num,type=CephInt,range=1,req=false",
            "list who led in which term, why it ended and for how long nobody led, newest first",
            "r",
            noun.history,
        ),
        builtin("version", "show the version of the active manager", "r", noun.version),
    ]


class _Manager:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def stat(self, _call: Call) -> Reply:
        found = self._context.mgr_map()
        return Reply(
            {
                "epoch": found["epoch"],
                "available": found["available"],
                "active_name": found["active_name"],
                "num_standby": len(found["standbys"]),
            }
        )

    async def dump(self, call: Call) -> Reply:
        found = self._context.mgr_map()
        epoch = call.get("epoch")
        if epoch is not None and epoch != found["epoch"]:
            raise NotFoundError(f"there is no map for epoch {epoch}")
        return Reply(found)

    async def fail(self, call: Call) -> Reply:
        found = self._context.mgr_map()
        who = str(call.get("who", "")).removeprefix("mgr.")
        standbys: Mapping[str, Any] = {each["name"]: each for each in found["standbys"]}
        if who in standbys or who in {str(each["gid"]) for each in standbys.values()}:
            raise InvalidArgumentError(
                f"mgr '{who}' is a standby: only the active manager, "
                f"'{found['active_name']}', has leadership to give up"
            )
        if who not in {"", found["active_name"], str(found["active_gid"])}:
            return Reply(note=f"Daemon not found '{who}', already failed?")
        successor = str(call.get("successor", "")).removeprefix("mgr.")
        asked_by = author_of(call.caller)
        reason = f"mgr fail by {asked_by}" if asked_by else "mgr fail"
        await self._context.resign(reason=reason, successor=successor, asked_by=asked_by)
        to = f" to mgr.{successor}" if successor else ""
        return Reply(note=f"mgr.{found['active_name']} gives up leadership{to}")

    async def set_down(self, call: Call) -> Reply:
        key = self._context.keys.down
        if call["down"] == "false":
            # Deleted even if absent: an earlier 'down' with an unknown outcome may still take
            # effect, and the last request has to win.
            await self._context.fenced.delete(key)
            return Reply()
        await self._context.fenced.put(key, timestamp())
        return Reply(
            note=f"mgr.{self._context.manager_id} gives up leadership and no manager "
            "takes it, until 'mgr set down false'"
        )

    async def services(self, _call: Call) -> Reply:
        return Reply(self._context.mgr_map()["services"])

    async def metadata(self, call: Call) -> Reply:
        found = self._metadata()
        who = call.get("who")
        if who is None:
            return Reply(list(found.values()))
        name = str(who).removeprefix("mgr.")
        if name not in found:
            raise NotFoundError(f"mgr.{name} does not exist")
        return Reply(found[name])

    async def history(self, call: Call) -> Reply:
        records = self._context.mirror.list(self._context.keys.leadership)
        found = terms(records, call.get("num", TERMS_DEFAULT))
        return Reply([term.document() for term in found], plain=_history_table(found))

    async def versions(self, _call: Call) -> Reply:
        return Reply(Counter(each["version"] for each in self._metadata().values()))

    async def count(self, call: Call) -> Reply:
        field = call["property"]
        return Reply(Counter(str(each.get(field, "unknown")) for each in self._metadata().values()))

    async def version(self, _call: Call) -> Reply:
        version = self._context.version
        return Reply({"version": version}, plain=f"mgr version {version}")

    def _metadata(self) -> dict[str, dict[str, Any]]:
        records = self._context.mirror.list(self._context.keys.managers).values()
        presences = [found for each in records if (found := decode(each.value, Presence))]
        return {each.name: _metadata_of(each) for each in presences}


def _metadata_of(presence: Presence) -> dict[str, Any]:
    return {
        **presence.host_metadata,
        "name": presence.name,
        "addr": presence.grpc_address,
        "addrs": presence.grpc_address,
        "ceph_release": RELEASE,
        "ceph_version": version_line(presence.version),
        "ceph_version_short": presence.version,
        "http_address": presence.http_address,
        "version": presence.version,
        "hostname": presence.host,
        "pid": presence.pid,
        "boot_id": presence.boot_id,
        "incarnation": presence.incarnation,
        "warm": presence.warm,
        "started_at": presence.started_at,
    }


def _history_table(found: Sequence[Term]) -> str:
    rows = []
    for term in found:
        document = term.document()
        rows.append(
            (
                str(term.term),
                f"mgr.{term.name}",
                term.host,
                to_the_second(term.since),
                _span(document["lasted_s"]),
                _span(term.unled_s),
                f"{term.summary} ({term.reason})",
            )
        )
    return table(HISTORY, rows)


def _span(seconds: float | None) -> str:
    """Return a length of time for people; ``-`` if it is unknown."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.3f} s"
    return str(timedelta(seconds=round(seconds)))
