"""Keeps the record of whether the cluster demands authentication, and obeys it as the active."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mgr.access.protection import encode, new_protection
from mgr.election.eligibility import CANNOT_AUTHENTICATE
from mgr.errors import StoreError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import ABSENT, Created, FencedWriter, Put

log = logging.getLogger(__name__)


class ProtectionKeeper:
    """Acts for one term."""

    def __init__(
        self, manager: WorkerContext, fenced: FencedWriter, resign: Callable[[str, str, str], None]
    ) -> None:
        """Write by ``fenced``; give up leadership with ``resign``, which takes the reason first."""
        self._manager = manager
        self._fenced = fenced
        self._resign = resign
        self._resigned = False

    def follow(self) -> None:
        """Check at each change of the record, and now."""
        self._manager.mirror.subscribe(self._manager.keys.protection, self._check)
        self._check()

    async def record_protection(self) -> None:
        """Store that authentication is demanded, if entries of an earlier release demand it.

        Those releases decided by the settings of each manager, and had no record.
        """
        manager, access = self._manager, self._manager.view.access
        if access.protection is not None or not access.required:
            return
        key = manager.keys.protection
        put = Put(key, encode(new_protection(required=True, admin="")))
        try:
            await self._fenced.commit([put], when=[Created(key, ABSENT)])
        except StoreError as error:
            # Nothing is open meanwhile: the entries bind without the record, too.
            log.warning("record of protection not stored", extra={"error": str(error)})

    def _check(self, _changes: object = None) -> None:
        # Nothing is open meanwhile: clients without a name are refused. But those with a
        # certificate cannot be recognized here, and another manager may do that.
        cannot = self._manager.view.access.required and not self._manager.settings.tls_ca
        if cannot and not self._resigned:
            self._resigned = True
            log.error("not eligible to lead", extra={"why": CANNOT_AUTHENTICATE})
            self._resign(CANNOT_AUTHENTICATE, "", "")
