"""The registry of the active's commands, which a worker fills as a standby.

Commands change only when a module is reloaded, enabled or disabled. What a standby has made is
kept, so that a failover does not wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from mgr.command.registry import BUILTIN, Command, Registry
from mgr.config.enabled_modules import enabled_modules
from mgr.errors import InvalidArgumentError
from mgr.host.finder import DiscoveredModule, always_on
from mgr.host.worker_context import WorkerContext

log = logging.getLogger(__name__)


class DeclaredCommands:
    """Puts what modules declare into ``registry``, and makes each module's commands once."""

    def __init__(self) -> None:
        """Begin with none."""
        self.registry = Registry()
        self._made: dict[str, tuple[DiscoveredModule, tuple[Command, ...]]] = {}

    def register_all(self, manager: WorkerContext, builtin: Iterable[Command]) -> None:
        """Register ``builtin`` and the commands of every module on this host, and no others."""
        known = manager.catalogue
        commands = {found.name: self._commands_of(found) for found in known.values()}
        enabled = enabled_modules(manager.mirror, manager.keys, always_on(known), known)
        _warn(self.registry.replace({**commands, BUILTIN: builtin}, enabled))

    def register(self, found: DiscoveredModule) -> None:
        """Register the commands of ``found`` in place of those that its module had before."""
        if hidden := self.registry.put(found.name, self._commands_of(found)):
            _warn({found.name: hidden})

    def _commands_of(self, found: DiscoveredModule) -> tuple[Command, ...]:
        kept = self._made.get(found.name)
        if kept is None or kept[0] is not found:
            kept = self._made[found.name] = found, tuple(_made_from(found))
        return kept[1]


def _made_from(found: DiscoveredModule) -> list[Command]:
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


def _warn(hidden_prefixes: dict[str, list[str]]) -> None:
    for module, hidden in hidden_prefixes.items():
        fields = {"module_name": module, "prefixes": hidden}
        log.warning("commands hidden: another module already has these prefixes", extra=fields)
