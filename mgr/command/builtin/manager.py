"""Commands ``mgr`` and ``version``: the active manager, the standbys, and hand-over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mgr.clock import timestamp
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.election.records import Presence, decode
from mgr.errors import InvalidArgumentError, NotFoundError
from mgr.module_api.ceph.release import RELEASE, version_line


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
        who_asked = call.caller.name or call.caller.address
        reason = f"mgr fail by {who_asked}" if who_asked else "mgr fail"
        await self._context.resign(reason=reason, successor=successor)
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
