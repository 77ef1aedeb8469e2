"""What modules on the active and on standbys read: options and store entries, from memory."""

from __future__ import annotations

from typing import Any

from mgr.addresses import split_address
from mgr.host.worker_context import WorkerContext
from mgr.module_api.context import OptionValue


class ReadOnlyContext:
    """The reading half of ``ModuleContext``. Any thread may call it; no call goes to the loop.

    Each method costs one dictionary lookup and takes no lock: the loop replaces the mirror and the
    options as wholes, so a thread reads either the old state or the new one.
    """

    def __init__(self, manager: WorkerContext, module: str) -> None:
        """Serve the reads of ``module``."""
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
    """Make the document ``mgr_ips``: the host part of this manager's HTTP address."""
    host, _ = split_address(http_address, "http address")
    return {"ips": [host]}
