"""Every command of the manager itself, from all nouns."""

from __future__ import annotations

from mgr.command.builtin import (
    auth,
    config,
    config_key,
    daemon,
    descriptions,
    device,
    health,
    log,
    manager,
    map,  # noqa: A004 - a noun like the others
    module,
    osd,
    status,
)
from mgr.command.builtin.call import Builtins
from mgr.command.builtin.context import BuiltinContext

NOUNS = (
    manager,
    module,
    config,
    config_key,
    map,
    daemon,
    device,
    osd,
    auth,
    health,
    status,
    log,
    descriptions,
)


def builtins(context: BuiltinContext) -> Builtins:
    """The runner of all built-in commands; its ``commands`` go into the registry as ``mgr``."""
    return Builtins(command for noun in NOUNS for command in noun.commands(context))
