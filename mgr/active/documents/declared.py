"""What modules and options declare, as read-only documents that are made once a load.

They are the largest part of what ``get`` returns and change only when a module is reloaded. A
worker makes them as a standby, so that a failover does not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgr.cluster.frozen import FrozenList, freeze
from mgr.config.schema import OptionSpec, Schemas
from mgr.host.finder import Catalogue, DiscoveredModule


class DeclaredDocuments:
    """Makes the documents, and keeps each part for as long as what it shows is the same object."""

    def __init__(self) -> None:
        """Begin with none."""
        self._modules: dict[str, tuple[DiscoveredModule, Mapping[str, OptionSpec], Any]] = {}
        self._manager_options: tuple[Schemas, Any] | None = None

    def available_modules(self, catalogue: Catalogue, schemas: Schemas) -> FrozenList:
        """Return ``available_modules`` of ``mgr_map``, in Ceph's shape."""
        return FrozenList([self._module(found, schemas) for found in catalogue.values()])

    def config_options(self, schemas: Schemas) -> Any:
        """Return the document ``config_options``: the manager's own options."""
        kept = self._manager_options
        if kept is None or kept[0] is not schemas:
            described = [spec.describe() for spec in schemas.manager_options.values()]
            kept = self._manager_options = schemas, freeze({"options": described})
        return kept[1]

    def _module(self, found: DiscoveredModule, schemas: Schemas) -> Any:
        options = schemas.of(found.name)
        kept = self._modules.get(found.name)
        if kept is None or kept[0] is not found or kept[1] is not options:
            entry = {
                "name": found.name,
                "can_run": found.can_run,
                "error_string": found.error,
                "module_options": {name: spec.in_map() for name, spec in options.items()},
            }
            kept = self._modules[found.name] = found, options, freeze(entry)
        return kept[2]
