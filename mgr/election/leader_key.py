"""The deeds of whoever holds the leader key: sign for it, name a successor, give it back.

Each is guarded by the key's create revision, so that none can touch a successor's office, and
each may be sent again: the second time changes nothing that the first did not.
"""

from __future__ import annotations

import secrets
from enum import Enum, auto
from typing import Final

import msgspec

from mgr.election.records import Leader, Reason, TermRecord, decode, encode
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


class HeartbeatResult(Enum):
    """What became of a heartbeat."""

    CONFIRMED = auto()
    LOST = auto()
    SHARED = auto()
    """The leader key is held, and by somebody else in the same term as well."""


class _OvertakenError(StoreUnavailableError):
    """A heartbeat was refused since an earlier one of the same process had come through."""


class LeaderKey:
    """The leader key, from having won it to having given it back."""

    def __init__(
        self, store: Store, keys: Keys, name: str, term: Revision, *, version: str
    ) -> None:
        """Hold ``term`` on behalf of manager ``name``, which runs ``version``."""
        self.term = term
        self._store = store
        self._keys = keys
        self._name = name
        self._version = version
        self._fence = Created(keys.leader, term)
        self.predecessor: TermRecord | None = None
        """How the term before stood when this one signed; None before that, and if unknown."""
        self._earlier_terms_s: float | None = None
        self._last_heartbeat: Revision | None = None
        """The revision of the last heartbeat of this process; None before the first."""
        self._unanswered: set[str] = set()
        """Heartbeats that were sent since and not answered."""
        self._unconditional: set[str] = set()
        """Those among them that compare nothing: they may come through at any time."""

    async def open_term_record(self, window_s: float, *, timeout_s: float) -> float | None:
        """Open the record of this term: it may act for ``window_s`` after its key is gone.

        With it goes the release: from now on the data is what this one writes.

        Returns for how long, counted from the winning, earlier terms may still act: 0 if they are
        certainly over; None if the office is lost. To be done before the first deed outside the
        store: from then on a successor that finds no end-of-term record knows that it must wait.

        Raises:
            StoreUnavailableError: Nothing is known; ask again.

        """
        record = await self._store.get(self._keys.term_record, timeout_s=timeout_s)
        before = None if record is None else decode(record.value, TermRecord)
        if self._earlier_terms_s is None:
            self.predecessor = before
            if before is not None:
                # Whoever wrote more than anybody can be set to: nobody is to wait for ever.
                self._earlier_terms_s = min(before.window_s, UNKNOWN_WINDOW_S)
            else:
                self._earlier_terms_s = await self._unknown_s(record, timeout_s=timeout_s)
        elif before is not None and before.term == self.term:
            # An earlier attempt came through, whose answer was lost.
            return self._earlier_terms_s
        outcome = await self._store.commit(
            [self._open_record(window_s), Put(self._keys.version, self._version)],
            # An attempt that is held up must not undo ``write_heartbeat_timeout``.
            when=[self._fence, as_seen(self._keys.term_record, record)],
            otherwise_get=[self._keys.leader],
            timeout_s=timeout_s,
        )
        if outcome.succeeded:
            return self._earlier_terms_s
        if self._still_holds(outcome):
            raise StoreUnavailableError("the term record changed while it was read: read it again")
        return None

    async def _unknown_s(self, record: Record | None, *, timeout_s: float) -> float:
        """How long earlier terms may act if their record is missing or cannot be read.

        The first term ever has nobody to wait for. A record that was removed or spoilt since a
        manager led here says nothing: then it is the longest that can be set.
        """
        led = record or await self._store.get(self._keys.version, timeout_s=timeout_s)
        return 0.0 if led is None else UNKNOWN_WINDOW_S

    async def send_heartbeat(self, *, timeout_s: float) -> HeartbeatResult:
        """Give a sign of life: write a heartbeat over the one before.

        ``CONFIRMED`` proves that the leader key was held at some moment after the sending.
        ``SHARED`` means that somebody else writes heartbeats in this very term: this process was
        copied, for instance by resuming a virtual machine twice from one snapshot. Each heartbeat
        is a value of its own, drawn by the kernel, so that copies differ in it.

        Raises:
            StoreUnavailableError: Nothing is known; the deadline before stands.

        """
        try:
            return await self._send_heartbeat(timeout_s)
        except _OvertakenError:
            return await self._send_heartbeat(timeout_s)

    async def _send_heartbeat(self, timeout_s: float) -> HeartbeatResult:
        token = secrets.token_hex(8)
        unchanged = (
            []
            if self._last_heartbeat is None
            else [Modified(self._keys.heartbeat, self._last_heartbeat)]
        )
        try:
            outcome = await self._store.commit(
                [Put(self._keys.heartbeat, token)],
                when=[self._fence, *unchanged],
                otherwise_get=[self._keys.leader, self._keys.heartbeat],
                timeout_s=timeout_s,
            )
        except OutcomeUnknownError:
            (self._unanswered if unchanged else self._unconditional).add(token)
            raise
        if outcome.succeeded:
            self._last_heartbeat = outcome.revision
            self._unanswered.clear()
            return HeartbeatResult.CONFIRMED
        if not self._still_holds(outcome):
            return HeartbeatResult.LOST
        found = outcome.found[1]
        if found is not None and found.value not in self._unanswered | self._unconditional:
            return HeartbeatResult.SHARED
        # One of its own came through after all, or an operator removed the key: go on from there.
        self._last_heartbeat = None if found is None else found.mod_revision
        raise _OvertakenError("an earlier heartbeat came through after all")

    def _still_holds(self, outcome: Outcome) -> bool:
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
            when=[self._fence, Modified(self._keys.leader, found.mod_revision)],
            timeout_s=timeout_s,
        )

    async def write_heartbeat_timeout(
        self, heartbeat_timeout_s: float, window_s: float, *, timeout_s: float
    ) -> bool:
        """Write another heartbeat timeout where standbys read it, and ``window_s``.

        True: it stands there, and no earlier attempt that is still on its way can replace it.
        False: it does not, and the next attempt may; a loss of the office is for others to see.
        To be done after ``open_term_record``.

        Raises:
            StoreUnavailableError: Either window may stand there.

        """
        record = await self._store.get(self._keys.leader, timeout_s=timeout_s)
        leader = None if record is None else decode(record.value, Leader)
        if record is None or leader is None:
            return False
        leader = msgspec.structs.replace(leader, heartbeat_timeout_s=heartbeat_timeout_s)
        outcome = await self._store.commit(
            [
                Put(self._keys.leader, encode(leader), record.lease),
                # What a successor has to wait for grows with it.
                self._open_record(window_s),
            ],
            when=[self._fence, Modified(self._keys.leader, record.mod_revision)],
            timeout_s=timeout_s,
        )
        return outcome.succeeded

    def _open_record(self, window_s: float) -> Put:
        opened = TermRecord(
            term=self.term,
            name=self._name,
            reason="leading",
            quiesced=False,
            window_s=max(window_s, self._earlier_terms_s or 0.0),
        )
        return Put(self._keys.term_record, encode(opened))

    async def nominate(self, successor: str, *, timeout_s: float) -> None:
        """Ask the others to leave the office to ``successor`` for a moment.

        Raises:
            StoreUnavailableError: It may or may not be known; whoever is quickest succeeds.

        """
        grant = await self._store.grant(TRANSFER_TTL_S, timeout_s=timeout_s)
        await self._store.commit(
            [Put(self._keys.transfer, successor, grant.lease)],
            when=[self._fence],
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
        operations: list[Operation] = [Delete(self._keys.leader)]
        if left_s is not None:
            ended = TermRecord(
                term=self.term,
                name=self._name,
                reason=reason,
                quiesced=left_s <= 0,
                window_s=max(left_s, 0.0),
                why=why,
            )
            operations.append(Put(self._keys.term_record, encode(ended)))
        outcome = await self._store.commit(operations, when=[self._fence], timeout_s=timeout_s)
        return outcome.succeeded
