"""Commands ``health``: show the health checks, mute and unmute them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from mgr.clock import utc_now
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.config.option_types import span_s
from mgr.errors import InvalidArgumentError, NotFoundError
from mgr.health.board import Board
from mgr.health.mute import Mute, encode
from mgr.store.api import NO_LEASE, Delete, DeletePrefix

CODE = "name=code,type=CephString"
TTL_S_MAX = 10 * 365 * 86400


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Health(context)
    return [
        builtin(
            "health name=detail,type=CephChoices,strings=detail,req=false",
            "show cluster health",
            "r",
            noun.show,
        ),
        builtin(
            f"health mute {CODE} name=ttl,type=CephString,req=false "
            "name=sticky,type=CephBool,req=false,positional=false",
            "mute health alert",
            "rw",
            noun.mute,
        ),
        builtin(
            f"health unmute {CODE},req=false",
            "unmute existing health alert mute(s)",
            "rw",
            noun.unmute,
        ),
    ]


class _Health:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context
        self._board = context.board

    async def show(self, call: Call) -> Reply:
        if call.get("detail"):
            return Reply(self._board.detail(), plain="\n".join(detail_lines(self._board)))
        return Reply(self._board.summary(), plain=headline(self._board))

    async def mute(self, call: Call) -> Reply:
        code, sticky = call["code"], bool(call.get("sticky"))
        check = self._board.checks.get(code)
        if check is None and not sticky:
            raise NotFoundError(f"health alert {code} is not currently raised")
        lease, until = NO_LEASE, ""
        if call.get("ttl") is not None:
            ttl_s = _ttl_s(call["ttl"])
            lease = (await self._context.leases.grant(ttl_s)).lease
            until = (utc_now() + timedelta(seconds=ttl_s)).isoformat(timespec="seconds")
        mute = Mute(
            sticky=sticky,
            summary=check.summary if check else "",
            count=check.count if check else 0,
            until=until,
        )
        await self._context.fenced.put(self._context.keys.mute(code), encode(mute), lease)
        return Reply()

    async def unmute(self, call: Call) -> Reply:
        code, keys = call.get("code"), self._context.keys
        # Deleted even if absent: an earlier mute with an unknown outcome may still take effect.
        # All mutes are deleted in one write: all or none.
        removal = DeletePrefix(keys.mutes) if code is None else Delete(keys.mute(code))
        await self._context.fenced.commit([removal])
        return Reply()


def headline(board: Board) -> str:
    """Return the health status and, in the same line, the reasons."""
    reasons = [check.summary for code, check in board.checks.items() if code not in board.mutes]
    muted = [code for code in board.checks if code in board.mutes]
    text = " ".join([str(board.status()), "; ".join(reasons)]).rstrip()
    return f"{text} (muted: {' '.join(muted)})" if muted else text


def detail_lines(board: Board) -> list[str]:
    """Return the headline, and each check with its details below."""
    lines = [headline(board)]
    for code, check in board.checks.items():
        lines.append(f"{_muted(board.mutes, code)}[{check.severity.tag}] {code}: {check.summary}")
        lines += [f"    {line}" for line in check.detail]
    return lines


def _muted(mutes: Mapping[str, Mute], code: str) -> str:
    mute = mutes.get(code)
    if mute is None:
        return ""
    words = ["MUTED", *(["STICKY"] if mute.sticky else [])]
    until = f" until {mute.until}" if mute.until else ""
    return f"({', '.join(words)}{until}) "


def _ttl_s(text: str) -> int:
    try:
        seconds = span_s(text)
    except InvalidArgumentError:
        seconds = 0
    if not 0 < seconds <= TTL_S_MAX:
        raise InvalidArgumentError(f"not a valid duration: '{text}'; use 10m, 4h or 1d12h")
    return seconds
