"""Command ``get_command_descriptions``: every command, in the form that Ceph's clients read."""

from __future__ import annotations

from typing import Any

from mgr.argument.descriptor import Flag
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.registry import BUILTIN, Command


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Descriptions(context)
    return [
        builtin("get_command_descriptions", "list available commands", "r", noun.show),
    ]


class _Descriptions:
    def __init__(self, context: BuiltinContext) -> None:
        self._registry = context.registry

    async def show(self, _call: Call) -> Reply:
        # Those of modules first, then the manager's own: the order in which Ceph lists them.
        ordered = sorted(self._registry.all(), key=lambda command: command.module == BUILTIN)
        return Reply(
            {f"cmd{number:03}": _description(command) for number, command in enumerate(ordered)}
        )


def _description(command: Command) -> dict[str, Any]:
    flags = Flag.MGR
    flags |= Flag.POLL if command.poll else Flag.NONE
    flags |= Flag.HIDDEN if command.hidden else Flag.NONE
    return {
        "sig": command.signature.to_json(),
        "help": command.help,
        "module": BUILTIN,
        "perm": command.perm,
        "flags": int(flags),
    }
