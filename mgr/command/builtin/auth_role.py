"""Commands ``auth role``: named sets of capabilities."""

from __future__ import annotations

from collections.abc import Callable

from mgr.access.caps import CHANGE_ACCESS
from mgr.access.changes import AccessChanges
from mgr.access.identity import Caller
from mgr.access.roles import BUILTIN_ROLES, role_caps, valid_role_name
from mgr.access.table import stored_caps
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.errors import InvalidArgumentError, NotPermittedError

ROLE = "name=role,type=CephString"

Log = Callable[[Caller, str], Reply]
"""Writes a change to the audit channel and returns the reply with it."""


def role_commands(
    context: BuiltinContext, changes: AccessChanges, log: Log
) -> list[BuiltinCommand]:
    """Return the commands of roles."""
    noun = _Roles(context, changes, log)
    return [
        builtin("auth role ls", "list the roles and their capabilities", "r", noun.ls),
        builtin(
            f"auth role set {ROLE} name=caps,type=CephString",
            "make a role, or change its capabilities; 'allow role NAME' grants it",
            CHANGE_ACCESS,
            noun.set,
        ),
        builtin(f"auth role rm {ROLE}", "remove a role", CHANGE_ACCESS, noun.rm),
    ]


class _Roles:
    def __init__(self, context: BuiltinContext, changes: AccessChanges, log: Log) -> None:
        self._context = context
        self._changes = changes
        self._log = log

    async def ls(self, _call: Call) -> Reply:
        roles = self._context.access.roles()
        data = [
            {"role": name, "caps": caps, "builtin": name in BUILTIN_ROLES}
            for name, caps in roles.items()
        ]
        return Reply(data, plain=table(("ROLE", "CAPS"), roles.items()))

    async def set(self, call: Call) -> Reply:
        name, caps = valid_role_name(call["role"]), call["caps"]
        role_caps(caps)
        await self._changes.commit(call.caller, {self._context.keys.role(name): caps})
        return self._log(call.caller, f"role '{name}' may do: {caps or 'nothing'}")

    async def rm(self, call: Call) -> Reply:
        name = valid_role_name(call["role"])
        existed = name in self._context.access.roles()
        if users := self._users(name):
            raise NotPermittedError(
                f"role '{name}' is granted to {', '.join(users)}: change their capabilities first"
            )
        # Deleted even if absent: an earlier put with an unknown outcome may still take effect.
        await self._changes.commit(call.caller, {self._context.keys.role(name): None})
        if not existed:
            return Reply(note=f"there is no role '{name}'")
        return self._log(call.caller, f"role '{name}' is removed")

    def _users(self, role: str) -> list[str]:
        return [entry for entry, caps in self._context.access.entries() if role in _roles_in(caps)]


def _roles_in(caps: str) -> set[str]:
    try:
        return {grant.role for grant in stored_caps(caps).grants}
    except InvalidArgumentError:
        return set()
