"""The commands of a module, as the registry takes them."""

from __future__ import annotations

import logging

from mgr.command.registry import Command
from mgr.errors import InvalidArgumentError
from mgr.host.finder import DiscoveredModule

log = logging.getLogger(__name__)


def commands_of(found: DiscoveredModule) -> list[Command]:
    """Return the commands that ``found`` declares; log and leave out those that are invalid."""
    commands = []
    for declaration in found.commands:
        try:
            commands.append(Command.of_module(found.name, declaration))
        except InvalidArgumentError as error:
            fields = {"module_name": found.name, "command": declaration.signature_text}
            fields["error"] = str(error)
            log.error("command left out", extra=fields)  # noqa: TRY400 - no traceback needed
    return commands
