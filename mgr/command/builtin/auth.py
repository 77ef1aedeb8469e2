"""Commands ``auth``: capabilities of clients, by the name in the certificate (docs/adr/0032)."""

from __future__ import annotations

from collections.abc import Mapping

from mgr.access.caps import AccessRequest, Caps
from mgr.access.table import EVERYBODY, Caller, stored_caps, valid_client_name
from mgr.cluster.log import AUDIT_CHANNEL, Priority
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.errors import NotFoundError, NotPermittedError

CLIENT = "name=client,type=CephString"
CHANGES = "rwx"
"""Permission to change capabilities. More than ``rw``: a client that may change everything else
must not be able to extend its own capabilities."""
ALL = "allow *"


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Auth(context)
    return [
        builtin("auth ls", "list all capabilities", "r", noun.ls),
        builtin(f"auth get {CLIENT}", "show the capabilities of a client", "r", noun.get),
        builtin("auth whoami", "show this client's name and capabilities", "", noun.whoami),
        builtin(
            f"auth caps {CLIENT} name=caps,type=CephString",
            "set the capabilities of a client ('*': all others): 'allow r', 'profile daemon', ...",
            CHANGES,
            noun.caps,
        ),
        builtin(f"auth rm {CLIENT}", "remove the capabilities of a client", CHANGES, noun.rm),
    ]


class _Auth:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def ls(self, _call: Call) -> Reply:
        entries = self._entries()
        # In Ceph's shape: its tools look for ``entity`` and for the capabilities of each service.
        listed = [
            {"entity": f"client.{client}", "client": client, "caps": {"mgr": caps}}
            for client, caps in entries.items()
        ]
        if not listed:
            return Reply(
                {"auth_dump": []}, plain="", note="no capabilities are stored: everybody may do all"
            )
        return Reply({"auth_dump": listed}, plain=table(("CLIENT", "CAPS"), entries.items()))

    async def get(self, call: Call) -> Reply:
        client = valid_client_name(call["client"])
        caps = self._entries().get(client)
        if caps is None:
            raise NotFoundError(f"client '{client}' has no capabilities of its own")
        return Reply({"client": client, "caps": caps}, plain=caps)

    async def whoami(self, call: Call) -> Reply:
        name = call.caller.name
        if name is None:
            note = "clients need no certificate here (tls_ca): everybody may do all"
            return Reply({"client": None, "caps": ALL}, plain="", note=note)
        caps = _caps_of(name, self._entries())
        return Reply({"client": name, "caps": caps}, plain=f"{name}: {caps or 'nothing'}")

    async def caps(self, call: Call) -> Reply:
        client, caps = valid_client_name(call["client"]), call["caps"]
        Caps.parse(caps)
        self._check(call.caller, {**self._entries(), client: caps})
        await self._context.fenced.put(self._context.keys.access_of(client), caps)
        return self._changed(call.caller, f"client '{client}' may do: {caps or 'nothing'}")

    async def rm(self, call: Call) -> Reply:
        client, entries = valid_client_name(call["client"]), self._entries()
        if client not in entries:
            # Deleted all the same: an earlier put with an unknown outcome may still take effect.
            await self._context.fenced.delete(self._context.keys.access_of(client))
            return Reply(note=f"client '{client}' has no capabilities of its own")
        del entries[client]
        self._check(call.caller, entries)
        await self._context.fenced.delete(self._context.keys.access_of(client))
        return self._changed(call.caller, f"client '{client}' has no capabilities of its own now")

    def _check(self, caller: Caller, entries: Mapping[str, str]) -> None:
        """Refuse a table that would bind no client, or that would lock out its author."""
        if caller.name is None:
            if caller.address:
                raise NotPermittedError(
                    "clients need no certificate here, so capabilities would bind nobody: set "
                    "tls_ca in the settings of every manager first"
                )
            return  # the manager's own modules
        caps = stored_caps(_caps_of(caller.name, entries))
        if not caps.allow(AccessRequest("auth caps", CHANGES), caller.address):
            raise NotPermittedError(
                f"this would leave you ('{caller.name}') without the right to change "
                f"capabilities: give yourself '{ALL}' first"
            )

    def _changed(self, caller: Caller, change: str) -> Reply:
        by = f"client '{caller.name}'" if caller.name else "a module"
        line = f"{change} (by {by})"
        name = f"mgr.{self._context.manager_id}"
        self._context.log.add(line, name=name, priority=Priority.SECURITY, channel=AUDIT_CHANNEL)
        return Reply(note=change)

    def _entries(self) -> dict[str, str]:
        return dict(self._context.access.entries())


def _caps_of(client: str, entries: Mapping[str, str]) -> str:
    return entries.get(client, entries.get(EVERYBODY, "" if entries else ALL))
