"""The deeds of whoever holds the leader key: sign for it, name a successor, give it back.

Each is guarded by the key's create revision, so that none can touch a successor's office, and
each may be sent again: the second time changes nothing that the first did not.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mgr.election.leader import Fence, Leader, Reason, decode, encode
from mgr.store.api import Created, Delete, Modified, Operation, Put, Revision, Store
from mgr.store.keys import Keys

TRANSFER_TTL_S: Final = 10
"""How long the wish for a successor stands."""


class Office:
    """The leader key, from having won it to having given it back."""

    def __init__(
        self, store: Store, keys: Keys, name: str, term: Revision, *, release: str
    ) -> None:
        """Hold ``term`` on behalf of manager ``name``, which runs ``release``."""
        self.term = term
        self._store = store
        self._keys = keys
        self._name = name
        self._release = release
        self._guard = Created(keys.leader, term)
        self.predecessor: Fence | None = None
        """How the term before stood when this one signed; None before that, and if unknown."""
        self._inherited_s: float | None = None
        self._beats = 0

    async def sign(self, window_s: float, *, timeout_s: float) -> float | None:
        """Open this term's fence record: it may act for ``window_s`` after its key is gone.

        With it goes the release: from now on the data is what this one writes.

        Returns for how long, counted from the winning, earlier terms may still act: 0 if they are
        certainly over; None if the office is lost. To be done before the first deed outside the
        store: from then on a successor that finds no death certificate knows that it must wait.

        Raises:
            StoreUnavailableError: Nothing is known; ask again.

        """
        if self._inherited_s is None:
            # Read once: asked again after a lost answer, the record may be this term's own.
            record = await self._store.get(self._keys.fence, timeout_s=timeout_s)
            self.predecessor = None if record is None else decode(record.value, Fence)
            # The first term ever has nobody to wait for; what cannot be read certifies nothing.
            unknown_s = 0.0 if record is None else window_s
            self._inherited_s = self.predecessor.window_s if self.predecessor else unknown_s
        outcome = await self._store.commit(
            [self._opened(window_s), Put(self._keys.version, self._release)],
            when=[self._guard],
            timeout_s=timeout_s,
        )
        return self._inherited_s if outcome.succeeded else None

    async def beat(self, *, timeout_s: float) -> bool:
        """Give a sign of life; False if the office is lost.

        Success proves that the office was held at some moment after the sending.

        Raises:
            StoreUnavailableError: Nothing is known; the deadline before stands.

        """
        self._beats += 1
        outcome = await self._store.commit(
            [Put(self._keys.pulse, str(self._beats))], when=[self._guard], timeout_s=timeout_s
        )
        return outcome.succeeded

    async def adapt(self, pulse_window_s: float, window_s: float, *, timeout_s: float) -> bool:
        """Write another window of the pulse where standbys read it, and ``window_s`` as ``sign``.

        True: it stands there, and no earlier attempt that is still on its way can replace it.
        False: it does not, and the next attempt may; a loss of the office is for others to see.
        To be done after ``sign``.

        Raises:
            StoreUnavailableError: Either window may stand there.

        """
        record = await self._store.get(self._keys.leader, timeout_s=timeout_s)
        leader = None if record is None else decode(record.value, Leader)
        if record is None or leader is None:
            return False
        leader = msgspec.structs.replace(leader, pulse_window_s=pulse_window_s)
        outcome = await self._store.commit(
            [
                Put(self._keys.leader, encode(leader), record.lease),
                # What a successor has to wait for grows with it.
                self._opened(window_s),
            ],
            when=[self._guard, Modified(self._keys.leader, record.mod_revision)],
            timeout_s=timeout_s,
        )
        return outcome.succeeded

    def _opened(self, window_s: float) -> Put:
        opened = Fence(
            term=self.term,
            name=self._name,
            reason="leading",
            quiesced=False,
            window_s=max(window_s, self._inherited_s or 0.0),
        )
        return Put(self._keys.fence, encode(opened))

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

    async def release(
        self, reason: Reason, *, left_s: float | None, timeout_s: float, why: str = ""
    ) -> bool:
        """Delete the key and write how the term ended, in one transaction.

        To be done when nothing of *this* term acts any more. ``left_s`` says how long earlier
        terms may still act; None, for a term that never signed, leaves their record as it is.
        ``why`` is for people.

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
                why=why,
            )
            deeds.append(Put(self._keys.fence, encode(fence)))
        outcome = await self._store.commit(deeds, when=[self._guard], timeout_s=timeout_s)
        return outcome.succeeded
