"""What a module of a waiting manager can reach: reading only."""

from __future__ import annotations

from typing import Any

from mgr.host.context import ReadOnlyContext, mgr_ips
from mgr.host.worker_context import WorkerContext


class StandbyContext(ReadOnlyContext):
    """Implements ``mgr.module_api.context.StandbyContext``."""

    def __init__(self, manager: WorkerContext, module: str, http_address: str) -> None:
        """Read for ``module``, on a manager that is reached at ``http_address``."""
        super().__init__(manager, module)
        self._http_address = http_address

    def get(self, data_name: str) -> Any:
        """``mgr_ips``; None for anything else: the rest is known to the active only."""
        return mgr_ips(self._http_address) if data_name == "mgr_ips" else None
