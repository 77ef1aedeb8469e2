"""The deeds of whoever holds the leader key: sign for it, name a successor, give it back.

Each is guarded by the key's create revision, so that none can touch a successor's office, and
each may be sent again: the second time changes nothing that the first did not.
"""

from __future__ import annotations

import secrets
from enum import Enum, auto
from typing import Final

import msgspec

from mgr.election.records import Fence, Leader, Reason, decode, encode
from mgr.election.timing import UNKNOWN_WINDOW_S
from mgr.errors import OutcomeUnknownError, StoreUnavailableError
from mgr.store.api import (
    Created,
    Delete,
    LeaseId,
    Modified,
    Operation,
    Outcome,
    Put,
    Record,
    Revision,
    Store,
    as_seen,
)
from mgr.store.keys import Keys

TRANSFER_TTL_S: Final = 10
"""How long the wish for a successor stands."""


class Beat(Enum):
    """What became of a heartbeat."""

    HELD = auto()
    LOST = auto()
    SHARED = auto()
    """The leader key is held, and by somebody else in the same term as well."""


class _OvertakenError(StoreUnavailableError):
    """A heartbeat was refused since an earlier one of the same process had come through."""


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
        self._pulse: Revision | None = None
        """The revision of the last heartbeat of this process; None before the first."""
        self._unanswered: set[str] = set()
        """Heartbeats that were sent since and not answered."""
        self._unconditional: set[str] = set()
        """Those among them that compare nothing: they may come through at any time."""

    async def sign(self, window_s: float, *, timeout_s: float) -> float | None:
        """Open this term's fence record: it may act for ``window_s`` after its key is gone.

        With it goes the release: from now on the data is what this one writes.

        Returns for how long, counted from the winning, earlier terms may still act: 0 if they are
        certainly over; None if the office is lost. To be done before the first deed outside the
        store: from then on a successor that finds no death certificate knows that it must wait.

        Raises:
            StoreUnavailableError: Nothing is known; ask again.

        """
        record = await self._store.get(self._keys.fence, timeout_s=timeout_s)
        before = None if record is None else decode(record.value, Fence)
        if self._inherited_s is None:
            self.predecessor = before
            if before is not None:
                # Whoever wrote more than anybody can be set to: nobody is to wait for ever.
                self._inherited_s = min(before.window_s, UNKNOWN_WINDOW_S)
            else:
                self._inherited_s = await self._unknown_s(record, timeout_s=timeout_s)
        elif before is not None and before.term == self.term:
            # An earlier attempt came through, whose answer was lost.
            return self._inherited_s
        outcome = await self._store.commit(
            [self._opened(window_s), Put(self._keys.version, self._release)],
            # An attempt that is held up must not undo what ``adapt`` writes later.
            when=[self._guard, as_seen(self._keys.fence, record)],
            otherwise_get=[self._keys.leader],
            timeout_s=timeout_s,
        )
        if outcome.succeeded:
            return self._inherited_s
        if self._is_held(outcome):
            raise StoreUnavailableError("the term record changed while it was read: read it again")
        return None

    async def _unknown_s(self, record: Record | None, *, timeout_s: float) -> float:
        """How long earlier terms may act if their record is missing or cannot be read.

        The first term ever has nobody to wait for. A record that was removed or spoilt since a
        manager led here says nothing: then it is the longest that can be set.
        """
        led = record or await self._store.get(self._keys.version, timeout_s=timeout_s)
        return 0.0 if led is None else UNKNOWN_WINDOW_S

    async def beat(self, *, timeout_s: float) -> Beat:
        """Give a sign of life: write a heartbeat over the one before.

        ``HELD`` proves that the leader key was held at some moment after the sending. ``SHARED``
        means that somebody else writes heartbeats in this very term: this process was copied, for
        instance by resuming a virtual machine twice from one snapshot. Each heartbeat is a value
        of its own, drawn by the kernel, so that copies differ in it.

        Raises:
            StoreUnavailableError: Nothing is known; the deadline before stands.

        """
        try:
            return await self._beat(timeout_s)
        except _OvertakenError:
            return await self._beat(timeout_s)

    async def _beat(self, timeout_s: float) -> Beat:
        token = secrets.token_hex(8)
        unchanged = [] if self._pulse is None else [Modified(self._keys.pulse, self._pulse)]
        try:
            outcome = await self._store.commit(
                [Put(self._keys.pulse, token)],
                when=[self._guard, *unchanged],
                otherwise_get=[self._keys.leader, self._keys.pulse],
                timeout_s=timeout_s,
            )
        except OutcomeUnknownError:
            (self._unanswered if unchanged else self._unconditional).add(token)
            raise
        if outcome.succeeded:
            self._pulse = outcome.revision
            self._unanswered.clear()
            return Beat.HELD
        if not self._is_held(outcome):
            return Beat.LOST
        found = outcome.found[1]
        if found is not None and found.value not in self._unanswered | self._unconditional:
            return Beat.SHARED
        # One of its own came through after all, or an operator removed the key: go on from there.
        self._pulse = None if found is None else found.mod_revision
        raise _OvertakenError("an earlier heartbeat came through after all")

    def _is_held(self, outcome: Outcome) -> bool:
        """Whether a refusal shows that the leader key was still held."""
        leader = outcome.found[0]
        return leader is not None and leader.create_revision == self.term

    async def repair(self, value: str, lease: LeaseId, found: Record, *, timeout_s: float) -> None:
        """Write the leader key as it must be; ``found`` is what somebody else wrote there.

        A key without this manager's lease would outlive it, and nobody could lead after it.

        Raises:
            StoreUnavailableError: Nothing is known; look again.

        """
        await self._store.commit(
            [Put(self._keys.leader, value, lease)],
            when=[self._guard, Modified(self._keys.leader, found.mod_revision)],
            timeout_s=timeout_s,
        )

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
