"""What the holder of the leader key writes: its term record, heartbeats, a successor, the release.

Each write is fenced by the create revision of the key, so that none can change anything in a
successor's term. Each may be repeated: the second execution changes nothing that the first did
not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

import msgspec

from mgr.election.records import Ending, Leader, Reason, TermRecord, decode, encode
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
"""Time to live of the key ``transfer``, which names the wanted successor."""


class HeartbeatResult(Enum):
    """The result of a heartbeat."""

    CONFIRMED = auto()
    """The leader key is held."""
    LOST = auto()
    """The leader key is gone, or belongs to another term."""
    SHARED = auto()
    """The leader key is held, and another process acts in the same term as well."""


class _OvertakenError(StoreUnavailableError):
    """A heartbeat failed because an earlier one of the same process was executed after all."""


class LeaderKey:
    """The leader key of one term, from its acquisition to its release."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        name: str,
        term: Revision,
        *,
        version: str,
        term_record: Sequence[Record | None] = (),
    ) -> None:
        """Hold ``term`` on behalf of manager ``name``, which runs ``version``.

        ``term_record`` is the term record as the key's own transaction read it, one item; empty
        if it was not read.
        """
        self.term = term
        self._store = store
        self._keys = keys
        self._name = name
        self._version = version
        self._fence = Created(keys.leader, term)
        self.predecessor: TermRecord | None = None
        """The record of the previous term when this term opened its own; None before, if unknown
        and in the first term."""
        self._found = term_record
        self._earlier_terms_s: float | None = None
        self._last_heartbeat: Revision | None = None
        """The revision of the last heartbeat of this process; None before the first."""
        self._unanswered: set[str] = set()
        """Tokens of the heartbeats that were sent since and got no answer."""
        self._unconditional: set[str] = set()
        """Tokens of unanswered heartbeats that did not compare the previous heartbeat: they may
        be executed at any time."""

    async def open_term_record(
        self,
        window_s: float,
        *,
        timeout_s: float,
        along: Callable[[TermRecord | None], Sequence[Operation]] = lambda _: (),
    ) -> float | None:
        """Open the record of this term: it may act for ``window_s`` after its key is gone.

        The same transaction writes this manager's mgrd version, since the data in etcd is from now
        on what this version writes, and what ``along`` returns for the record of the term before.

        Returns how long, counted from the acquisition of the leader key, earlier terms may still
        act, in seconds: 0 if they are certainly over; None if leadership is lost. To be called
        before the first effect outside the store: from then on a successor that finds the record
        still open must wait.

        Raises:
            StoreUnavailableError: The outcome is unknown; call again.

        """
        if self._found:
            [record] = self._found
            # Another attempt follows only if this one's outcome is unknown: then it is read again.
            self._found = ()
        else:
            record = await self._store.get(self._keys.term_record, timeout_s=timeout_s)
        before = None if record is None else decode(record.value, TermRecord)
        if self._earlier_terms_s is not None and before is not None and before.term == self.term:
            # An earlier attempt was executed and its answer was lost.
            return self._earlier_terms_s
        self.predecessor = before
        if before is not None:
            # Limited to the longest value that can be configured: a damaged record must not make
            # this manager wait for ever.
            self._earlier_terms_s = min(before.window_s, UNKNOWN_WINDOW_S)
        else:
            self._earlier_terms_s = await self._unknown_s(record, timeout_s=timeout_s)
        outcome = await self._store.commit(
            [
                self._open_record(window_s),
                Put(self._keys.version, self._version),
                *along(self.predecessor),
            ],
            # A delayed attempt must not overwrite a later ``write_heartbeat_timeout``.
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
        """How long earlier terms may act if their record is missing or cannot be read, in seconds.

        0 in the first term ever: the key ``version`` shows whether a manager led before. If a
        manager led and its record was removed or damaged, the longest configurable time is
        assumed.
        """
        led = record or await self._store.get(self._keys.version, timeout_s=timeout_s)
        return 0.0 if led is None else UNKNOWN_WINDOW_S

    async def send_heartbeat(self, *, timeout_s: float) -> HeartbeatResult:
        """Write a heartbeat over the previous one.

        ``CONFIRMED`` proves that the leader key was held at some moment after the request was
        sent. ``SHARED`` means that another process writes heartbeats in the same term: this
        process was copied, for instance by resuming a virtual machine twice from one snapshot.
        Each heartbeat has a random value from the kernel, so that copies write different values.

        Raises:
            StoreUnavailableError: The outcome is unknown; the previous deadline stays.

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
        # An earlier request was executed after all, or an operator removed the key: the next
        # heartbeat compares the revision found here.
        self._last_heartbeat = None if found is None else found.mod_revision
        raise _OvertakenError("an earlier heartbeat was executed after all: send it again")

    def _still_holds(self, outcome: Outcome) -> bool:
        """Whether the leader key was still held when the transaction failed."""
        leader = outcome.found[0]
        return leader is not None and leader.create_revision == self.term

    async def repair(self, value: str, lease: LeaseId, found: Record, *, timeout_s: float) -> None:
        """Overwrite the leader key ``found``, which somebody else changed, with the right value.

        A key without this manager's lease would outlive this manager, and no other one could
        acquire leadership after it.

        Raises:
            StoreUnavailableError: The outcome is unknown; read the key again.

        """
        await self._store.commit(
            [Put(self._keys.leader, value, lease)],
            when=[self._fence, Modified(self._keys.leader, found.mod_revision)],
            timeout_s=timeout_s,
        )

    async def write_heartbeat_timeout(
        self, heartbeat_timeout_s: float, window_s: float, *, timeout_s: float
    ) -> bool:
        """Write a new heartbeat timeout into the leader key, and ``window_s`` into the term record.

        True: both are written, and no earlier attempt that is still under way can replace them.
        False: nothing was written, and the next attempt may succeed. A loss of leadership is not
        reported here; the next heartbeat finds it. To be called after ``open_term_record``.

        Raises:
            StoreUnavailableError: The old or the new timeout may be in the leader key.

        """
        record = await self._store.get(self._keys.leader, timeout_s=timeout_s)
        leader = None if record is None else decode(record.value, Leader)
        if record is None or leader is None:
            return False
        leader = msgspec.structs.replace(leader, heartbeat_timeout_s=heartbeat_timeout_s)
        outcome = await self._store.commit(
            [
                Put(self._keys.leader, encode(leader), record.lease),
                # A successor must wait longer after a leader with a longer timeout.
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
        """Ask the other managers to give ``successor`` a head start in the next campaign.

        Raises:
            StoreUnavailableError: The request may or may not be written; without it the quickest
                manager becomes the leader.

        """
        grant = await self._store.grant(TRANSFER_TTL_S, timeout_s=timeout_s)
        await self._store.commit(
            [Put(self._keys.transfer, successor, grant.lease)],
            when=[self._fence],
            timeout_s=timeout_s,
        )

    async def release(
        self,
        reason: Reason,
        *,
        left_s: float | None,
        timeout_s: float,
        why: str = "",
        ending: Ending | None = None,
        along: Sequence[Operation] = (),
    ) -> bool:
        """Delete the leader key and write how the term ended, in one transaction.

        To be called when nothing of *this* term acts any more. ``left_s`` is how long earlier
        terms may still act, in seconds; None, for a term that never opened its record, leaves
        their record unchanged. ``why`` and ``ending`` are for operators; ``along`` is done in
        the same transaction.

        Returns False if the key was not held any more: lost, or released by an earlier attempt
        whose answer was lost. Both results are final.

        Raises:
            StoreUnavailableError: The outcome is unknown; call again.

        """
        operations: list[Operation] = [Delete(self._keys.leader), *along]
        if left_s is not None:
            ended = TermRecord(
                term=self.term,
                name=self._name,
                reason=reason,
                quiesced=left_s <= 0,
                window_s=max(left_s, 0.0),
                why=why,
                ending=ending,
            )
            operations.append(Put(self._keys.term_record, encode(ended)))
        outcome = await self._store.commit(operations, when=[self._fence], timeout_s=timeout_s)
        return outcome.succeeded
