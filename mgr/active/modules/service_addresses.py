"""Removes the addresses that modules published in the store (``set_uri``)."""

from __future__ import annotations

import contextlib
from typing import Final

from mgr.errors import StoreError, TermLostError
from mgr.store.api import Delete
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

WITHDRAW_S: Final = 0.5
"""Limit for removing published addresses. Those not removed end with the lease anyway."""


class ServiceAddresses:
    """The published addresses: those of this term and those left by earlier ones.

    A failure to remove one is ignored: it is attached to a lease and ends with it.
    """

    def __init__(self, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Find addresses in ``mirror`` and remove them with ``fenced``."""
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced

    async def remove(self, module: str) -> None:
        """Remove the address of ``module``, if it has published one."""
        await self._remove(self._keys.service(module))

    async def remove_own(self) -> None:
        """Remove every address published in this term."""
        await self._remove(*self._own())

    async def remove_earlier(self) -> None:
        """Remove the addresses of earlier terms.

        Their lease does not end while the manager that published them still runs as a standby.
        """
        every = self._mirror.list(self._keys.services).keys()
        await self._remove(*(every - set(self._own())))

    def _own(self) -> list[str]:
        # A term is the revision at which leadership was acquired: what was written in this term
        # has a higher one.
        services = self._mirror.list(self._keys.services)
        return [key for key, record in services.items() if record.mod_revision > self._fenced.term]

    async def _remove(self, *keys: str) -> None:
        present = [key for key in keys if self._mirror.get(key)]
        if present:
            with contextlib.suppress(StoreError, TermLostError):
                await self._fenced.commit([Delete(key) for key in present], timeout_s=WITHDRAW_S)
