"""Changes of who may do what: checked against lock-outs, one at a time, in one transaction each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from mgr.access.identity import Caller, Kind
from mgr.access.protection import Protection, encode, new_protection
from mgr.access.table import ADMINISTRATOR, CHANGES, Access
from mgr.errors import NotPermittedError, StoreUnavailableError
from mgr.store.api import Delete, FencedWriter, Operation, Put
from mgr.store.keys import Keys

TIMEOUT_S: Final = 5.0
"""How long a change waits for earlier ones."""


class AccessChanges:
    """Writes entries, roles and tokens. The active changes them only by this."""

    def __init__(self, access: Access, keys: Keys, writer: FencedWriter) -> None:
        """Check with ``access`` and write by ``writer``, whose writes ``access`` shows at once."""
        self._access = access
        self._keys = keys
        self._writer = writer
        self._turn = asyncio.Lock()

    async def commit(self, caller: Caller, changes: Mapping[str, str | None]) -> None:
        """Write ``changes``, etcd keys and values (None: delete), on behalf of ``caller``.

        The first entry makes the cluster demand authentication.

        Raises:
            NotPermittedError: The change would bind nobody, or lock out its author, or leave no
                administrator. Nothing was changed.

        """
        # One at a time: two administrators who remove each other at once must not both succeed.
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreUnavailableError(
                f"earlier changes did not finish within {TIMEOUT_S:g} s; this one was not sent"
            ) from None
        try:
            complete = self._completed(caller, changes)
            self._check(caller, complete)
            await self._writer.commit([_operation(key, value) for key, value in complete.items()])
        finally:
            self._turn.release()

    async def require(self, caller: Caller, *, required: bool) -> None:
        """Make the cluster demand authentication, or not any more.

        Raises:
            NotPermittedError: As for ``commit``. Nothing was changed.

        """
        before = self._access.protection or Protection()
        protection = new_protection(required=required, admin=before.admin)
        await self.commit(caller, {self._keys.protection: encode(protection)})

    def _completed(
        self, caller: Caller, changes: Mapping[str, str | None]
    ) -> Mapping[str, str | None]:
        """Return ``changes`` with what belongs to the first entry of all."""
        found = dict(changes)
        puts_entry = any(
            key.startswith(self._keys.access) and value is not None
            for key, value in changes.items()
        )
        if not puts_entry:
            return found
        protection = self._access.protection
        if protection is None:
            admin = caller.identities[0].entry if caller.identities else ""
            first = new_protection(required=True, admin=admin)
            found.setdefault(self._keys.protection, encode(first))
        elif not any(True for _ in self._access.entries()):
            # The first administrator's right ends with the empty table: it becomes an entry.
            rights = self._access.rights_of(caller) if caller.identities else None
            if rights is not None:
                found.setdefault(self._keys.access_of(rights.identity.entry), ADMINISTRATOR)
        return found

    def _check(self, caller: Caller, changes: Mapping[str, str | None]) -> None:
        if caller.kind is Kind.ANONYMOUS:
            raise NotPermittedError(
                "clients need no certificate here, so capabilities would bind nobody: set "
                "tls_ca in the settings of every manager first"
            )
        after = self._access.with_changes(changes)
        if not after.is_allowed(caller, CHANGES):
            raise NotPermittedError(
                f"this would leave you ('{caller.identities[0].entry}') without the right to "
                f"change capabilities: give yourself '{ADMINISTRATOR}' first"
            )
        keeps = after.has_administrator()
        if not keeps and (after.required or self._access.has_administrator()):
            raise NotPermittedError(
                "this would leave nobody who may change capabilities from everywhere: give "
                f"somebody '{ADMINISTRATOR}' first"
            )


def _operation(key: str, value: str | None) -> Operation:
    return Delete(key) if value is None else Put(key, value)
