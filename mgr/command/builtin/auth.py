"""Commands ``auth``: who may do what (docs/adr/0052)."""

from __future__ import annotations

from typing import Any, Final

from mgr.access.caps import CHANGE_ACCESS, Caps
from mgr.access.changes import AccessChanges
from mgr.access.identity import EVERYBODY, Caller, Identity, Kind
from mgr.cluster.log import AUDIT_CHANNEL, Priority
from mgr.command.builtin.auth_role import role_commands
from mgr.command.builtin.auth_token import token_commands
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.errors import NotFoundError, NotPermittedError

CLIENT: Final = "name=client,type=CephString"
ALL: Final = "allow *"
REALLY: Final = "name=yes_i_really_mean_it,type=CephBool,req=false,positional=false"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    changes = AccessChanges(context.access, context.keys, context.fenced)
    noun = _Auth(context, changes)
    return [
        builtin("auth ls", "list all capabilities", "r", noun.ls),
        builtin(f"auth get {CLIENT}", "show the capabilities of a client", "r", noun.get),
        builtin("auth whoami", "show this client's name and capabilities", "", noun.whoami),
        builtin(
            f"auth caps {CLIENT} name=caps,type=CephString",
            "set the capabilities of a client ('*': all others): 'allow role viewer', "
            "'profile daemon', ...",
            CHANGE_ACCESS,
            noun.caps,
        ),
        builtin(f"auth rm {CLIENT}", "remove the capabilities of a client", CHANGE_ACCESS, noun.rm),
        builtin(
            "auth require", "demand authentication from every client", CHANGE_ACCESS, noun.require
        ),
        builtin(
            f"auth unrequire {REALLY}",
            "let clients without certificate and token do everything",
            CHANGE_ACCESS,
            noun.unrequire,
        ),
        *role_commands(context, changes, noun.log),
        *token_commands(context, changes, noun.log),
    ]


class _Auth:
    def __init__(self, context: BuiltinContext, changes: AccessChanges) -> None:
        self._context = context
        self._changes = changes

    async def ls(self, _call: Call) -> Reply:
        entries = self._entries()
        # In Ceph's shape: its tools look for ``entity`` and for the capabilities of each service.
        listed = [
            {"entity": f"client.{client}", "client": client, "caps": {"mgr": caps}}
            for client, caps in entries.items()
        ]
        if not listed:
            return Reply({"auth_dump": []}, plain="", note=self._meaning_of_empty())
        return Reply({"auth_dump": listed}, plain=table(("CLIENT", "CAPS"), entries.items()))

    async def get(self, call: Call) -> Reply:
        client = _entry(call["client"])
        caps = self._entries().get(client)
        if caps is None:
            raise NotFoundError(f"client '{client}' has no capabilities of its own")
        return Reply({"client": client, "caps": caps}, plain=caps)

    async def whoami(self, call: Call) -> Reply:
        caller = call.caller
        if caller.kind is Kind.INTERNAL:
            return Reply({"client": None, "kind": caller.kind.value, "caps": ALL}, plain="")
        if caller.kind is Kind.ANONYMOUS:
            note = "this cluster demands no authentication: everybody may do everything"
            nobody = {"client": None, "kind": caller.kind.value, "caps": ALL}
            return Reply(nobody, plain="", note=note)
        rights = self._context.access.rights_of(caller)
        caps = rights.text if rights is not None else ""
        names = [identity.entry for identity in caller.identities]
        data: dict[str, Any] = {
            "client": names[0],
            "kind": caller.kind.value,
            "names": names,
            "address": caller.address,
            "caps": caps,
        }
        return Reply(data, plain=f"{names[0]}: {caps or 'nothing'}")

    async def caps(self, call: Call) -> Reply:
        client, caps = _entry(call["client"]), call["caps"]
        for grant in Caps.parse(caps).grants:
            if grant.role and grant.role not in self._context.access.roles():
                raise NotFoundError(f"there is no role '{grant.role}': see 'auth role ls'")
        await self._changes.commit(call.caller, {self._context.keys.access_of(client): caps})
        return self.log(call.caller, f"client '{client}' may do: {caps or 'nothing'}")

    async def rm(self, call: Call) -> Reply:
        client = _entry(call["client"])
        existed = client in self._entries()
        # Deleted even if absent: an earlier put with an unknown outcome may still take effect.
        await self._changes.commit(call.caller, {self._context.keys.access_of(client): None})
        if not existed:
            return Reply(note=f"client '{client}' has no capabilities of its own")
        return self.log(call.caller, f"client '{client}' has no capabilities of its own now")

    async def require(self, call: Call) -> Reply:
        await self._changes.require(call.caller, required=True)
        return self.log(
            call.caller,
            "every client must authenticate; managers without tls_ca are not eligible",
        )

    async def unrequire(self, call: Call) -> Reply:
        if not call.get("yes_i_really_mean_it"):
            raise NotPermittedError(
                "clients that reach a manager without TLS could do everything: "
                "--yes-i-really-mean-it does it anyway"
            )
        await self._changes.require(call.caller, required=False)
        return self.log(call.caller, "clients without certificate and token may do everything")

    def log(self, caller: Caller, change: str) -> Reply:
        """Write ``change`` to the audit channel of the cluster log; return the reply with it."""
        name = f"mgr.{self._context.manager_id}"
        self._context.log.add(
            f"{change} (by {caller})", name=name, priority=Priority.SECURITY, channel=AUDIT_CHANNEL
        )
        return Reply(note=change)

    def _meaning_of_empty(self) -> str:
        access = self._context.access
        if not access.required:
            return (
                "no capabilities are stored: everybody who needs no certificate may do everything"
            )
        admin = access.protection.admin if access.protection is not None else ""
        return f"no capabilities are stored: only '{admin}' may do anything"

    def _entries(self) -> dict[str, str]:
        return dict(self._context.access.entries())


def _entry(text: str) -> str:
    """Return the name of the entry that ``text`` means.

    Raises:
        InvalidArgumentError: No client can have it.

    """
    return text if text == EVERYBODY else Identity.of_entry(text).entry
