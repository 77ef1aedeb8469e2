"""Constructs a module of the active in threads of this process."""

from __future__ import annotations

from mgr.active.modules.context import ActiveContext
from mgr.active.term_parts import TermParts
from mgr.host.bridge import Bridge
from mgr.host.execution import ModuleInstance
from mgr.host.finder import DiscoveredModule
from mgr.host.imports import import_here
from mgr.module_api.confined_context import confined


def construct_in_thread(
    parts: TermParts, found: DiscoveredModule, bridge: Bridge
) -> ModuleInstance:
    """Construct a module; import it first if that was not done yet. Called on its own thread."""
    known = import_here(parts.manager, found, bridge)
    context = ActiveContext(parts, found.name, bridge)
    instance: ModuleInstance
    instance = known.active(found.name, confined(context, found.name, known.manifest), 0)
    return instance
