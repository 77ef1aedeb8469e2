"""The commands that a loaded module offers."""

from __future__ import annotations

import logging

from mgr.command.registry import Command
from mgr.errors import InvalidArgumentError
from mgr.host.finder import DiscoveredModule

log = logging.getLogger(__name__)


def commands_of(found: DiscoveredModule) -> list[Command]:
    """Every command of ``found`` that can be read; one that cannot is logged and left out."""
    commands = []
    for declaration in found.commands:
        try:
            commands.append(Command.of_module(found.name, declaration))
        except InvalidArgumentError as error:
            fields = {"module_name": found.name, "command": declaration.signature_text}
            log.error("command left out: %s", error, extra=fields)  # noqa: TRY400 - the text says it all
    return commands
