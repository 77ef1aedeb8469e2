"""What a module of either part reads: options and its own entries, straight from memory."""

from __future__ import annotations

from typing import Any

from mgr.host.worker_context import WorkerContext
from mgr.module_api.context import OptionValue
from mgr.settings import split_address


class ReadOnlyContext:
    """The reading half of ``ModuleContext``. Any thread may call it; nothing crosses to the loop.

    Each method costs what a dictionary costs: the mirror and the options are replaced by the loop
    as wholes, so a thread reads either the old one or the new one.
    """

    def __init__(self, manager: WorkerContext, module: str) -> None:
        """Read for ``module``."""
        self._manager = manager
        self._module = module
        self._prefix = manager.keys.module_entry(module, "")
        self._service = manager.keys.service(module)
        # Bound once: these are called in modules' inner loops.
        self._get_record = manager.mirror.get
        self._typed_option = manager.config.typed

    @property
    def manager_id(self) -> str:
        """The name of this manager."""
        return self._manager.id

    def get_option(self, module: str, name: str, *, localized: bool = False) -> OptionValue:
        """See ``mgr.module_api.context``."""
        return self._typed_option(module, name, localized=localized)

    def get_native_option(self, name: str) -> OptionValue:
        """See ``mgr.module_api.context``."""
        return self._manager.config.manager_option(name)

    def get_store(self, key: str) -> str | None:
        """See ``mgr.module_api.context``."""
        record = self._get_record(self._prefix + key)
        return None if record is None else record.value

    def get_active_uri(self) -> str:
        """See ``mgr.module_api.context``."""
        return self._manager.view.services().get(self._module, "")


def mgr_ips(http_address: str) -> dict[str, Any]:
    """The document ``mgr_ips``: where this manager is reached, as far as it is an address."""
    host, _ = split_address(http_address, "http address")
    return {"ips": [host]}
