"""Commands ``log``: write to the cluster log, and show its last lines."""

from __future__ import annotations

from mgr.access.table import INTERNAL_CALLER
from mgr.audit.author import author_of
from mgr.client_limits import RateLimit
from mgr.cluster.log import AUDIT_CHANNEL, DEFAULT_CHANNEL, Filter, Priority
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.errors import OverloadedError

LAST = 20
LEVELS = {
    "debug": Priority.DEBUG,
    "info": Priority.INFO,
    "sec": Priority.SECURITY,
    "warn": Priority.WARNING,
    "error": Priority.ERROR,
}
ALL_CHANNELS = "*"
LINES_PER_S = 10.0
"""Lines that one caller may write to the cluster log, on average; and at once:"""
LINES_AT_ONCE = 100.0


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Log(context)
    channels = f"{ALL_CHANNELS}|{DEFAULT_CHANNEL}|{AUDIT_CHANNEL}"
    return [
        builtin(
            "log name=logtext,type=CephObjectname,n=N",
            "log supplied text to the cluster log",
            "rw",
            noun.write,
            once=True,
        ),
        builtin(
            "log last name=num,type=CephInt,range=1,req=false "
            f"name=level,type=CephChoices,strings={'|'.join(LEVELS)},req=false "
            f"name=channel,type=CephChoices,strings={channels},req=false",
            "print last few lines of the cluster log",
            "r",
            noun.last,
        ),
    ]


class _Log:
    def __init__(self, context: BuiltinContext) -> None:
        self._log = context.log
        self._manager_id = context.manager_id
        self._limits = context.limits
        self._rate = RateLimit(context.clock.now, per_s=LINES_PER_S, burst=LINES_AT_ONCE)

    async def write(self, call: Call) -> Reply:
        who = call.caller.name or call.caller.address
        if call.caller != INTERNAL_CALLER and not self._rate.take(who):
            self._limits.reached("log_lines", who)
            raise OverloadedError(
                f"a client may write {LINES_PER_S:g} lines a second to the cluster log: retry later"
            )
        author = author_of(call.caller) or f"mgr.{self._manager_id}"
        self._log.add(" ".join(call["logtext"]), name=author)
        return Reply()

    async def last(self, call: Call) -> Reply:
        channel = call.get("channel", DEFAULT_CHANNEL)
        wanted = Filter(
            LEVELS[call.get("level", "info")], "" if channel == ALL_CHANNELS else channel
        )
        entries = self._log.last(call.get("num", LAST), wanted)
        data = [
            {
                "name": entry.name,
                "stamp": entry.at.isoformat(),
                "seq": entry.sequence,
                "channel": entry.channel,
                "priority": f"[{entry.priority.tag}]",
                "message": entry.message,
            }
            for entry in entries
        ]
        return Reply(data, plain="\n".join(map(str, entries)))
