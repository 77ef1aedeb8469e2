"""Commands ``auth join-token``: tokens that are exchanged for certificates (docs/adr/0051)."""

from __future__ import annotations

from mgr.access.caps import CHANGE_ACCESS
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.pki.join_token import LIFETIME_S, LIFETIME_S_MAX, PROFILES


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _JoinTokens(context)
    seconds = f"name=seconds,type=CephInt,range=60|{LIFETIME_S_MAX},req=false,positional=false"
    signer = "name=signer,type=CephBool,req=false,positional=false"
    profile = f"name=profile,type=CephChoices,strings={'|'.join(PROFILES)}"
    return [
        builtin(
            f"auth join-token create {profile} name=name,type=CephString {seconds} {signer}",
            "make a token with which one manager, daemon or client gets a certificate; in --name "
            "of a daemon, * stands for any characters; --signer: the manager can sign certificates",
            CHANGE_ACCESS,
            noun.create,
            secret=True,
        ),
        builtin("auth join-token ls", "list join tokens, without secrets", "r", noun.ls),
        builtin(
            "auth join-token rm name=id,type=CephString",
            "remove a join token",
            CHANGE_ACCESS,
            noun.rm,
        ),
    ]


class _JoinTokens:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def create(self, call: Call) -> Reply:
        seconds = call.get("seconds", LIFETIME_S)
        text, token = await self._context.issuer.create_token(
            call["profile"],
            call["name"],
            lifetime_s=seconds,
            created_by=str(call.caller),
            signer=bool(call.get("signer")),
        )
        data = {
            "id": text.id,
            "token": str(text),
            "profile": token.profile,
            "name": token.name,
            "signer": token.signer,
            "expires_at": token.expires_at,
        }
        return Reply(data, plain=str(text), note=f"it can be used once, within {seconds} s")

    async def ls(self, _call: Call) -> Reply:
        tokens = self._context.issuer.tokens()
        listed = [
            {
                "id": ident,
                "profile": token.profile,
                "name": token.name,
                "signer": token.signer,
                "expires_at": token.expires_at,
                "created_by": token.created_by,
                "used_for": token.used_for,
            }
            for ident, token in tokens.items()
        ]
        rows = [
            (each["id"], each["profile"], each["name"], each["expires_at"], each["used_for"] or "-")
            for each in listed
        ]
        plain = table(("ID", "PROFILE", "NAME", "EXPIRES", "USED FOR"), rows) if rows else ""
        return Reply(listed, plain=plain, note="" if rows else "there are no join tokens")

    async def rm(self, call: Call) -> Reply:
        known = await self._context.issuer.remove_token(call["id"])
        return Reply(note="" if known else f"there is no join token '{call['id']}'")
