"""Implements the module context on a standby: reading only."""

from __future__ import annotations

from typing import Any

from mgr.host.context import ReadOnlyContext, mgr_ips
from mgr.host.worker_context import WorkerContext


class StandbyModuleContext(ReadOnlyContext):
    """Implements ``mgr.module_api.context.StandbyContext``."""

    def __init__(self, manager: WorkerContext, module: str, http_address: str) -> None:
        """Serve ``module`` on a manager whose HTTP port has the address ``http_address``."""
        super().__init__(manager, module)
        self._http_address = http_address

    def get(self, data_name: str) -> Any:
        """Return ``mgr_ips``; None for anything else, which only the active has."""
        return mgr_ips(self._http_address) if data_name == "mgr_ips" else None
