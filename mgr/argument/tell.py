"""Parses ``tell <daemon> <command>``: a command for one daemon or one manager, by name.

A daemon receives the words over its report stream and interprets them itself.

In Ceph, ``tell mgr[.<id>]`` reaches a socket with separate commands. Here a standby has no such
commands: ``tell mgr.<id>`` runs the active's commands and makes sure that this manager answers. Two
of Ceph's forms name no section: ``config get <key>`` and ``config show`` concern the manager that
is addressed.
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
"""Commands that concern the addressed manager, if this many words follow them."""


def daemon_command_arguments(
    words: Sequence[str], arguments: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments of ``tell`` if ``words`` address a daemon; None otherwise.

    The daemon's own words pass through unchanged: none is parsed as an argument of ``tell``.
    """
    if len(words) < 3 or words[0] != TELL:
        return None
    kind, dot, name = words[1].partition(".")
    if kind == MANAGER_TYPE or not dot or not name:
        return None
    request: dict[str, Any] = {"target": words[1], "args": list(words[2:])}
    return request | {"typed": json.dumps(dict(arguments))} if arguments else request


def resolve_target(words: Sequence[str], active: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of the manager that ``words`` address, and the command for it.

    Words that do not begin with ``tell`` address the manager ``active``.

    Raises:
        InvalidArgumentError: The command is missing, or the target is no ``<type>.<id>``.

    """
    if not words or words[0] != TELL:
        return active, tuple(words)
    if len(words) < 3:
        raise InvalidArgumentError("write: tell mgr[.<id>] <command> or tell <type>.<id> <command>")
    kind, _, name = words[1].partition(".")
    if kind != MANAGER_TYPE:
        raise InvalidArgumentError(f"'{words[1]}' is not the name of a daemon: write <type>.<id>")
    name = active if name in ACTIVE_NAMES else name
    command = tuple(words[2:])
    if ABOUT_TARGET.get(command[:2]) == len(command) - 2:
        command = (*command[:2], f"{MANAGER_TYPE}.{name}", *command[2:])
    return name, command
