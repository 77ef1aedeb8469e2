"""Deletes the oldest records of the history of leadership above the configured number."""

from __future__ import annotations

import logging
from typing import Final

from mgr.config.manager_options import TERMS_MAX
from mgr.errors import StoreError, TermLostError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import Delete
from mgr.store.fenced import FencedStore

DELETED_AT_ONCE: Final = 100

log = logging.getLogger(__name__)


class LeadershipHistory:
    """The records of who led, of which each term adds one."""

    def __init__(self, manager: WorkerContext, fenced: FencedStore) -> None:
        """Write by ``fenced``."""
        self._manager = manager
        self._fenced = fenced

    async def trim(self) -> None:
        """Delete the oldest records, once in a term."""
        kept = int(self._manager.config.number(TERMS_MAX))
        surplus = list(self._manager.mirror.list(self._manager.keys.leadership))[:-kept]
        for first in range(0, len(surplus), DELETED_AT_ONCE):
            operations = [Delete(key) for key in surplus[first : first + DELETED_AT_ONCE]]
            try:
                await self._fenced.commit(operations)
            except TermLostError:
                return
            except StoreError as error:
                # The next term deletes them.
                log.warning("history of leadership not shortened", extra={"error": str(error)})
                return
