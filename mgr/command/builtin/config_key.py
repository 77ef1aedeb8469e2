"""Commands ``config-key``: the key/value store. A module's key ``k`` is ``mgr/<module>/k`` here.

Modules keep passwords and keys there. So values need ``allow *`` or a grant of the very command,
as in Ceph: ``allow r`` and ``allow rw`` do not do.
"""

from __future__ import annotations

from mgr.access.caps import SECRETS
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, alias, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.config.kv import ENTRY_BYTES_MAX, checked_key, checked_value
from mgr.config.manager_options import ENTRY_LIMIT
from mgr.errors import NotFoundError

# Keys and values may have any characters; a CephString accepts ASCII only.
KEY = "name=key,type=CephObjectname"
VALUE = "name=val,type=CephObjectname,req=false"
CHANGE = "rwx"
"""Permission to change what modules trust."""


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _ConfigKey(context)
    put = builtin(f"config-key set {KEY} {VALUE}", "set <key> to value <val>", CHANGE, noun.set)
    remove = builtin(f"config-key rm {KEY}", "rm <key>", CHANGE, noun.rm)
    listing = builtin("config-key ls", "list keys", "r", noun.ls)
    return [
        builtin(f"config-key get {KEY}", "get <key>", SECRETS, noun.get),
        put,
        alias(f"config-key put {KEY} {VALUE}", put),
        remove,
        alias(f"config-key del {KEY}", remove),
        builtin(f"config-key exists {KEY}", "check for <key>'s existence", "r", noun.exists),
        listing,
        alias("config-key list", listing),
        builtin(
            f"config-key dump {KEY},req=false",
            "dump keys and values (with optional prefix)",
            SECRETS,
            noun.dump,
        ),
    ]


class _ConfigKey:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def get(self, call: Call) -> Reply:
        value = self._all().get(call["key"])
        if value is None:
            raise NotFoundError(f"key '{call['key']}' doesn't exist")
        return Reply(value, plain=value, raw=True)

    async def set(self, call: Call) -> Reply:
        key = checked_key(call["key"])
        value = call.get("val", call.inbuf)
        limit = self._context.config.manager_option(ENTRY_LIMIT)
        checked_value(value, bytes_max=int(limit or ENTRY_BYTES_MAX))
        await self._context.fenced.put(self._context.keys.entry(key), value)
        return Reply(note=f"set {key}")

    async def rm(self, call: Call) -> Reply:
        key = checked_key(call["key"])
        existed = key in self._all()
        # Deleted even if absent: an earlier put with an unknown outcome may still take effect.
        await self._context.fenced.delete(self._context.keys.entry(key))
        return Reply(note="key deleted" if existed else f"key '{key}' did not exist")

    async def exists(self, call: Call) -> Reply:
        key = call["key"]
        if key not in self._all():
            raise NotFoundError(f"key '{key}' doesn't exist")
        return Reply(note=f"key '{key}' exists")

    async def ls(self, _call: Call) -> Reply:
        return Reply(list(self._all()))

    async def dump(self, call: Call) -> Reply:
        return Reply(self._all(call.get("key", "")))

    def _all(self, beginning: str = "") -> dict[str, str]:
        prefix = self._context.keys.kv
        records = self._context.mirror.list(prefix + beginning)
        return {key.removeprefix(prefix): record.value for key, record in records.items()}
