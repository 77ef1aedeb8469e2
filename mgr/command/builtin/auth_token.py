"""Commands ``auth token``: tokens for people and scripts that have no certificate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from mgr.access.caps import CHANGE_ACCESS, Caps
from mgr.access.changes import AccessChanges
from mgr.access.identity import Caller, Identity, Kind
from mgr.access.tokens import TOKENS_MAX, encode, new_token
from mgr.clock import wall_s
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.config.option_types import span_s
from mgr.errors import InvalidArgumentError, OverloadedError

LIFETIME: Final = "90d"
LIFETIME_S_MAX: Final = 10 * 365 * 86_400
SWEPT_MAX: Final = 16
"""Most expired tokens that are deleted when one is made: the size of a transaction is limited."""

Log = Callable[[Caller, str], Reply]
"""Writes a change to the audit channel and returns the reply with it."""


def token_commands(
    context: BuiltinContext, changes: AccessChanges, log: Log
) -> list[BuiltinCommand]:
    """Return the commands of tokens."""
    noun = _Tokens(context, changes, log)
    return [
        builtin("auth token ls", "list the tokens, without their secrets", "r", noun.ls),
        builtin(
            "auth token create name=name,type=CephString name=caps,type=CephString,req=false "
            "name=expires,type=CephString,req=false,positional=false",
            f"make a token for the client 'token:NAME' and print it once; --expires {LIFETIME}",
            CHANGE_ACCESS,
            noun.create,
            once=True,
            secret=True,
        ),
        builtin(
            "auth token rm name=id,type=CephString",
            "remove a token by its id",
            CHANGE_ACCESS,
            noun.rm,
        ),
    ]


class _Tokens:
    def __init__(self, context: BuiltinContext, changes: AccessChanges, log: Log) -> None:
        self._context = context
        self._changes = changes
        self._log = log

    async def ls(self, _call: Call) -> Reply:
        data = [
            {
                "id": ident,
                "client": token.identity.entry,
                "expires": _iso(token.expires_s),
                "expired": token.expires_s <= wall_s(),
                "created": token.created_at,
                "created_by": token.created_by,
            }
            for ident, token in self._context.access.tokens.all()
        ]
        rows = [
            (
                each["id"],
                each["client"],
                f"{each['expires']}{' (expired)' if each['expired'] else ''}",
                each["created_by"],
            )
            for each in data
        ]
        return Reply(data, plain=table(("ID", "CLIENT", "EXPIRES", "CREATED BY"), rows))

    async def create(self, call: Call) -> Reply:
        identity = Identity(Kind.TOKEN, call["name"])
        Identity.of_entry(identity.entry)
        lifetime_s = _lifetime_s(call.get("expires") or LIFETIME)
        ident, text, record = new_token(identity.name, lifetime_s=lifetime_s, by=str(call.caller))
        keys = self._context.keys
        changes: dict[str, str | None] = {keys.token(old): None for old in self._expired()}
        changes[keys.token(ident)] = encode(record)
        caps = call.get("caps")
        if caps is not None:
            Caps.parse(caps)
            changes[keys.access_of(identity.entry)] = caps
        await self._changes.commit(call.caller, changes)
        rights = f", who may do: {caps}" if caps else ""
        made = f"token {ident} made for client '{identity.entry}'{rights}"
        self._log(call.caller, made)
        note = f"{made}; it is valid until {_iso(record.expires_s)} and is shown only now"
        if caps is None and identity.entry not in dict(self._context.access.entries()):
            note += f". It may do nothing yet: 'auth caps {identity.entry} ...'"
        return Reply({"id": ident, "token": text}, plain=text, note=note)

    async def rm(self, call: Call) -> Reply:
        ident = call["id"].partition(".")[0]  # the whole token is understood, too
        if not ident.isalnum() or not ident.isascii():
            raise InvalidArgumentError("the id of a token is what stands before its dot")
        existed = self._context.access.tokens.find(ident)
        # Deleted even if absent: an earlier put with an unknown outcome may still take effect.
        await self._changes.commit(call.caller, {self._context.keys.token(ident): None})
        if existed is None:
            return Reply(note=f"there is no token {ident}")
        return self._log(
            call.caller, f"token {ident} of client '{existed.identity.entry}' is removed"
        )

    def _expired(self) -> list[str]:
        tokens = dict(self._context.access.tokens.all())
        now_s = wall_s()
        expired = [ident for ident, token in tokens.items() if token.expires_s <= now_s]
        if len(tokens) - len(expired) >= TOKENS_MAX:
            raise OverloadedError(f"there are {len(tokens)} tokens: remove some first")
        return expired[:SWEPT_MAX]


def _lifetime_s(text: str) -> int:
    seconds = span_s(text)
    if not 0 < seconds <= LIFETIME_S_MAX:
        raise InvalidArgumentError(f"--expires {text}: use 1s to 10y")
    return seconds


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")
