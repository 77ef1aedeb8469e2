"""``tell <daemon> <command>``: a command for one daemon, or one manager, by name.

A daemon gets its words over the stream on which it reports; what they mean is its own business.

In Ceph, ``tell mgr[.<id>]`` reaches a socket with commands of its own. Here a manager that does not
lead has none, so it is the active's commands, and the way to be sure who answers. Two of Ceph's
forms name nobody: ``config get <key>`` and ``config show`` are about the manager that is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mgr.errors import InvalidArgumentError

TELL: Final = "tell"
MANAGER_TYPE: Final = "mgr"
ACTIVE_NAMES: Final = frozenset({"", "*"})
ABOUT_TARGET: Final[dict[tuple[str, ...], int]] = {("config", "show"): 0, ("config", "get"): 1}
"""Commands that, with so many words behind them, are about the manager that is told."""


def daemon_command_arguments(
    words: Sequence[str], arguments: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The arguments of the command ``tell`` if ``words`` tell a daemon something; else None.

    What the daemon is told passes through: none of it is taken for an argument of ``tell``.
    """
    if len(words) < 3 or words[0] != TELL:
        return None
    kind, dot, name = words[1].partition(".")
    if kind == MANAGER_TYPE or not dot or not name:
        return None
    request: dict[str, Any] = {"target": words[1], "args": list(words[2:])}
    return request | {"typed": json.dumps(dict(arguments))} if arguments else request


def resolve_target(words: Sequence[str], active: str) -> tuple[str, tuple[str, ...]]:
    """Whom ``words`` are for, and what they then ask; words that are no ``tell``: the active.

    Raises:
        InvalidArgumentError: They tell nobody by name, or nothing.

    """
    if not words or words[0] != TELL:
        return active, tuple(words)
    if len(words) < 3:
        raise InvalidArgumentError("write: tell mgr[.<id>] <command> or tell <type>.<id> <command>")
    kind, _, name = words[1].partition(".")
    if kind != MANAGER_TYPE:
        raise InvalidArgumentError(f"'{words[1]}' is nobody's name: write <type>.<id>")
    name = active if name in ACTIVE_NAMES else name
    command = tuple(words[2:])
    if ABOUT_TARGET.get(command[:2]) == len(command) - 2:
        command = (*command[:2], f"{MANAGER_TYPE}.{name}", *command[2:])
    return name, command
