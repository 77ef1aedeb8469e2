"""``get_command_descriptions``: every command, in the form that Ceph's clients read."""

from __future__ import annotations

from typing import Any

from mgr.argument.descriptor import Flag
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import Administration
from mgr.command.registry import BUILTIN, Command


def commands(admin: Administration) -> list[BuiltinCommand]:
    """The commands of this noun."""
    noun = _Descriptions(admin)
    return [
        builtin("get_command_descriptions", "list available commands", "r", noun.show),
    ]


class _Descriptions:
    def __init__(self, admin: Administration) -> None:
        self._registry = admin.registry

    async def show(self, _call: Call) -> Reply:
        # Modules first, the manager's own after them: the order in which Ceph tells them.
        ordered = sorted(self._registry.all(), key=lambda command: command.module == BUILTIN)
        return Reply(
            {f"cmd{number:03}": _described(command) for number, command in enumerate(ordered)}
        )


def _described(command: Command) -> dict[str, Any]:
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
