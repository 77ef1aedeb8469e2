"""Commands ``map``: documents that clients publish and modules read."""

from __future__ import annotations

import json

from mgr.cluster.maps import UNVERSIONED
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.errors import InvalidArgumentError

NAME = "name=name,type=CephObjectname"
EXPECTED_VERSION = "name=expected_version,type=CephInt,range=0,req=false,positional=false"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Map(context)
    return [
        builtin(
            f"map set {NAME} {EXPECTED_VERSION}",
            "publish the JSON object in -i <file> as a map; with <expected_version>, only if that "
            "is the current version (0: if there is none)",
            "rw",
            noun.set,
            once=True,
        ),
        builtin(f"map get {NAME}", "show a map, or a document of the manager", "r", noun.get),
        builtin("map ls", "list published maps and their versions", "r", noun.ls),
        builtin(f"map rm {NAME} {EXPECTED_VERSION}", "remove a map", "rw", noun.rm, once=True),
    ]


class _Map:
    def __init__(self, context: BuiltinContext) -> None:
        self._maps = context.maps

    async def set(self, call: Call) -> Reply:
        name = call["name"]
        if not call.inbuf:
            raise InvalidArgumentError("the map's JSON is missing: pass it with -i <file>")
        version = await self._maps.set(name, call.inbuf, call.get("expected_version"))
        note = f"map '{name}' is at version {version}"
        return Reply({"name": name, "version": version}, plain="", note=note)

    async def get(self, call: Call) -> Reply:
        found = self._maps.get(call["name"])
        note = "" if found.version == UNVERSIONED else f"version {found.version}"
        return Reply(json.loads(found.text), note=note)

    async def ls(self, _call: Call) -> Reply:
        listed = [
            {"name": each.name, "version": each.version, "bytes": len(each.text.encode())}
            for each in self._maps.all()
        ]
        rows = [tuple(each.values()) for each in listed]
        return Reply(listed, plain=table(("NAME", "VERSION", "BYTES"), rows))

    async def rm(self, call: Call) -> Reply:
        name = call["name"]
        removed = await self._maps.remove(name, call.get("expected_version"))
        return Reply(note=f"map '{name}' is removed" if removed else f"there is no map '{name}'")
