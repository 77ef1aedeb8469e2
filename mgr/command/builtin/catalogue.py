"""List of all built-in commands, collected from all nouns."""

from __future__ import annotations

from mgr.command.builtin import (
    audit,
    auth,
    backup,
    command,
    compare,
    config,
    config_key,
    daemon,
    descriptions,
    device,
    etcd,
    health,
    join_token,
    log,
    manager,
    map,  # noqa: A004 - a noun like the others
    module,
    osd,
    secrets,
    status,
)
from mgr.command.builtin.call import Builtins
from mgr.command.builtin.context import BuiltinContext

NOUNS = (
    manager,
    compare,
    module,
    config,
    config_key,
    map,
    daemon,
    device,
    osd,
    etcd,
    auth,
    audit,
    secrets,
    backup,
    join_token,
    health,
    status,
    log,
    command,
    descriptions,
)


def builtins(context: BuiltinContext) -> Builtins:
    """Return the runner of all built-in commands; they go into the registry as module ``mgr``."""
    return Builtins((each for noun in NOUNS for each in noun.commands(context)), context.clock)
