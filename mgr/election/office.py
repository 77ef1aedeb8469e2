"""The deeds of whoever holds the leader key: sign for it, name a successor, give it back.

Each is guarded by the key's create revision, so that none can touch a successor's office, and
each may be sent again: the second time changes nothing that the first did not.
"""

from __future__ import annotations

from typing import Final

from mgr.election.leader import Fence, Reason, decode, encode
from mgr.store.api import Created, Delete, Operation, Put, Record, Revision, Store
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
        self._inherited_s: float | None = None

    async def sign(self, window_s: float, *, timeout_s: float) -> float | None:
        """Open this term's fence record: it may act for ``window_s`` after its key is gone.

        Returns for how long, counted from the winning, earlier terms may still act: 0 if they are
        certainly over; None if the office is lost. To be done before the first deed outside the
        store: from then on a successor that finds no death certificate knows that it must wait.

        Raises:
            StoreUnavailableError: Nothing is known; ask again.

        """
        if self._inherited_s is None:
            # Read once: asked again after a lost answer, the record may be this term's own.
            record = await self._store.get(self._keys.fence, timeout_s=timeout_s)
            self._inherited_s = _window_s(record, window_s)
        opened = Fence(
            term=self.term,
            name=self._name,
            reason="leading",
            quiesced=False,
            window_s=max(window_s, self._inherited_s),
        )
        outcome = await self._store.commit(
            [Put(self._keys.fence, encode(opened))], when=[self._guard], timeout_s=timeout_s
        )
        return self._inherited_s if outcome.succeeded else None

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

    async def release(self, reason: Reason, *, left_s: float | None, timeout_s: float) -> bool:
        """Delete the key and write how the term ended, in one transaction.

        To be done when nothing of *this* term acts any more. ``left_s`` says how long earlier
        terms may still act; None, for a term that never signed, leaves their record as it is.

        False if the key was not ours any more: lost, or given back by an earlier attempt whose
        answer was lost. Both answers are final.

        Raises:
            StoreUnavailableError: Nothing is known; ask again.

        """
        deeds: list[Operation] = [Delete(self._keys.leader)]
        if left_s is not None:
            fence = Fence(
                term=self.term,
                name=self._name,
                reason=reason,
                quiesced=left_s <= 0,
                window_s=max(left_s, 0.0),
            )
            deeds.append(Put(self._keys.fence, encode(fence)))
        outcome = await self._store.commit(deeds, when=[self._guard], timeout_s=timeout_s)
        return outcome.succeeded


def _window_s(record: Record | None, unknown_s: float) -> float:
    if record is None:
        # The first term ever.
        return 0.0
    fence = decode(record.value, Fence)
    # What cannot be read certifies nothing.
    return unknown_s if fence is None else fence.window_s
