"""The deeds of whoever holds the leader key: sign for it, name a successor, give it back.

Each is guarded by the key's create revision, so that none can touch a successor's office, and
each may be sent again: the second time changes nothing that the first did not.
"""

from __future__ import annotations

from typing import Final

from mgr.election.leader import Fence, decode, encode
from mgr.store.api import Created, Delete, Put, Revision, Store
from mgr.store.keys import Keys

TRANSFER_TTL_S: Final = 10
"""How long the wish for a successor stands."""


class Office:
    """The leader key, from having won it to having given it back."""

    def __init__(self, store: Store, keys: Keys, name: str, term: Revision) -> None:
        """Hold ``term`` on behalf of manager ``name``."""
        self.term = term
        self._store = store
        self._keys = keys
        self._name = name
        self._guard = Created(keys.leader, term)
        self._predecessor_quiesced: bool | None = None

    async def sign(self, *, timeout_s: float) -> bool | None:
        """Open this term's fence record; whether the term before is certainly over.

        None if the office is lost. To be done before the first deed outside the store: from then
        on a successor that finds no death certificate knows that it must wait.

        Raises:
            StoreUnavailableError: Nothing is known; ask again.

        """
        if self._predecessor_quiesced is None:
            # Read once: asked again after a lost answer, the record may be this term's own.
            record = await self._store.get(self._keys.fence, timeout_s=timeout_s)
            fence = None if record is None else decode(record.value, Fence)
            # No record at all: the first term ever. An unreadable one certifies nothing.
            self._predecessor_quiesced = record is None or (fence is not None and fence.quiesced)
        opened = Fence(term=self.term, name=self._name, reason="leading", quiesced=False)
        outcome = await self._store.commit(
            [Put(self._keys.fence, encode(opened))], when=[self._guard], timeout_s=timeout_s
        )
        return self._predecessor_quiesced if outcome.succeeded else None

    async def nominate(self, successor: str, *, timeout_s: float) -> None:
        """Ask the others to leave the office to ``successor`` for a moment.

        Raises:
            StoreUnavailableError: It may or may not be known; whoever is quickest succeeds.

        """
        grant = await self._store.grant(TRANSFER_TTL_S, timeout_s=timeout_s)
        await self._store.commit(
            [Put(self._keys.transfer, successor, grant.lease)],
            when=[self._guard],
            timeout_s=timeout_s,
        )

    async def release(self, fence: Fence, *, timeout_s: float) -> bool:
        """Delete the key and write how the term ended, in one transaction.

        False if the key was not ours any more: lost, or given back by an earlier attempt whose
        answer was lost. Both answers are final.

        Raises:
            StoreUnavailableError: Nothing is known; ask again.

        """
        outcome = await self._store.commit(
            [Delete(self._keys.leader), Put(self._keys.fence, encode(fence))],
            when=[self._guard],
            timeout_s=timeout_s,
        )
        return outcome.succeeded
