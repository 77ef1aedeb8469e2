"""Command ``command ls``: what runs, since when, and on which thread."""

from __future__ import annotations

from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table

HEADINGS = ("COMMAND", "MODULE", "THREAD", "STATE", "SINCE", "SECONDS", "CLIENT")


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Command(context)
    return [
        builtin(
            "command ls",
            "list the commands that run or wait for their module: since when, on which thread, "
            "for whom",
            "r",
            noun.ls,
        ),
    ]


class _Command:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def ls(self, _call: Call) -> Reply:
        # This very command runs as well, and is of no interest.
        found = [each for each in self._context.running() if each.prefix != "command ls"]
        data = [
            {
                "command": each.prefix,
                "module": each.module,
                "thread": each.thread,
                "state": each.state,
                "since": each.since,
                "age_s": round(each.age_s, 3),
                "client": each.client,
            }
            for each in found
        ]
        rows = (
            (
                each.prefix,
                each.module,
                each.thread,
                each.state,
                each.since,
                f"{each.age_s:.1f}",
                each.client,
            )
            for each in found
        )
        return Reply(data, plain=table(HEADINGS, rows) if found else "no command runs")
