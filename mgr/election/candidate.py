"""Campaign for leadership: watch the keys that matter, decide when to try, and try once."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from mgr.clock import Clock
from mgr.election.timing import Timing
from mgr.errors import OutcomeUnknownError
from mgr.store.api import (
    ABSENT,
    Changed,
    Compare,
    Created,
    Delete,
    FeedEvent,
    Interrupted,
    LeaseId,
    Listed,
    Modified,
    Put,
    Record,
    Revision,
    Store,
)
from mgr.store.keys import Keys


@dataclass(slots=True)
class WatchedKey:
    """The last known state of one key, kept up to date from a feed of the store.

    Attributes:
        record: The key; None while it is absent.
        known: Whether the feed was current at its last event. While False, the key may exist or
            not, whatever ``record`` is.
        revision: The newest revision the feed delivered. Older data is ignored.
        changed_s: When the key last appeared or vanished, in seconds on the clock.

    """

    key: str
    record: Record | None = None
    known: bool = False
    revision: Revision = ABSENT
    changed_s: float = float("-inf")

    def apply(self, event: FeedEvent, now_s: float) -> None:
        """Update from one event of the feed, received at ``now_s``."""
        match event:
            case Interrupted():
                self.known = False
                return
            case Listed(records=records, revision=revision):
                # Replaces everything, even by an older revision: the store may have been restored.
                self.revision = revision
                self._set_record(next((r for r in records if r.key == self.key), None), now_s)
            case Changed(put=put, revision=revision) if revision > self.revision:
                self.revision = revision
                gone = None if self.key in event.deleted else self.record
                self._set_record(next((r for r in put if r.key == self.key), gone), now_s)
            case _:
                self.revision = max(self.revision, event.revision)
        self.known = True

    def apply_read(self, record: Record | None, revision: Revision, now_s: float) -> None:
        """Update from a read at ``revision``, unless the feed is already at or past it."""
        if revision > self.revision:
            self.revision = revision
            self._set_record(record, now_s)

    def compare_unchanged(self) -> Compare:
        """Return the comparison that succeeds while the key is still in its last known state."""
        if self.record is None:
            return Created(self.key, ABSENT)
        return Modified(self.key, self.record.mod_revision)

    def _set_record(self, record: Record | None, now_s: float) -> None:
        if (record is None) != (self.record is None):
            self.changed_s = now_s
        self.record = record


class Acquired(NamedTuple):
    """The leader key, as an attempt found itself holding it.

    Attributes:
        term: The create revision of the key.
        term_record: The term record that the same transaction read, one item; empty if it read
            none.

    """

    term: Revision
    term_record: tuple[Record | None, ...] = ()


class Candidate:
    """Tries to create the leader key.

    Level-triggered: each attempt decides from the present state of the watched keys, not from the
    event that caused it, so that a missed event delays an attempt and loses nothing.
    """

    def __init__(
        self, store: Store, keys: Keys, clock: Clock, name: str, rng: random.Random
    ) -> None:
        """Campaign for manager ``name``."""
        self.leader = WatchedKey(keys.leader)
        self.transfer = WatchedKey(keys.transfer)
        self.down = WatchedKey(keys.down)
        self.version = WatchedKey(keys.version)
        self.protection = WatchedKey(keys.protection)
        self._store = store
        self._keys = keys
        self._clock = clock
        self._name = name
        self._rng = rng

    def campaign_delay_s(self, timing: Timing) -> float | None:
        """Delay in seconds before the next attempt; None while there should be none.

        None if a leader is known, or if the managers are set down. A successor named by the key
        ``transfer`` tries at once and the other managers leave it a head start.
        """
        if self.leader.record is not None and self.leader.known:
            return None
        if self.down.record is not None:
            return None
        wanted = self.transfer.record
        if wanted is None:
            return self._rng.uniform(0, timing.jitter_s_max)
        if wanted.value == self._name:
            return 0.0
        waited_s = self._clock.now() - self.leader.changed_s
        return max(0.0, timing.transfer_head_start_s - waited_s)

    def holds_leader_key(self, lease: LeaseId) -> bool:
        """Whether the feed shows the leader key attached to ``lease``: an attempt succeeded."""
        return self.leader.record is not None and self.leader.record.lease == lease

    async def campaign(self, value: str, lease: LeaseId, timing: Timing) -> Acquired | None:
        """Try once to create the leader key; return what was acquired, or None if that failed.

        If the outcome is unknown, the key is read back and the request is not repeated: the first
        one may have been executed. One that is executed even later is found by
        ``holds_leader_key``.

        Raises:
            LeaseExpiredError: The lease is gone; nothing was done.
            StoreUnavailableError: The outcome is unknown; try again.

        """
        watched_keys = (self.leader, self.transfer, self.down, self.version, self.protection)
        try:
            outcome = await self._store.commit(
                [Put(self._keys.leader, value, lease)],
                # A transfer that this feed has not delivered yet makes the attempt fail, instead
                # of taking leadership from the named successor; the answer carries the transfer.
                # The key ``down`` works alike: while it exists, no term begins.
                when=(
                    Created(self._keys.leader, ABSENT),
                    self.transfer.compare_unchanged(),
                    Created(self._keys.down, ABSENT),
                    # Eligibility was decided for this very version of the last leader, and for
                    # this very record of whether clients must authenticate.
                    self.version.compare_unchanged(),
                    self.protection.compare_unchanged(),
                ),
                # Read here, so that the new term need not ask for it before it opens its own.
                then_get=(self._keys.term_record,),
                otherwise_get=tuple(watched_key.key for watched_key in watched_keys),
                timeout_s=timing.request_s,
            )
        except OutcomeUnknownError:
            return await self.claim(value, lease, timing)
        if outcome.succeeded:
            return Acquired(outcome.revision, outcome.found)
        now_s = self._clock.now()
        for watched_key, record in zip(watched_keys, outcome.found, strict=True):
            watched_key.apply_read(record, outcome.revision, now_s)
        return None

    async def claim(self, value: str, lease: LeaseId, timing: Timing) -> Acquired | None:
        """Read the leader key back; return what is acquired if ``lease`` holds it, or None.

        Its value is written again with ``value``: a key that an earlier attempt created may name a
        worker that is gone, and may have existed unnoticed for long. The write also proves that
        the key exists now.

        Raises:
            StoreUnavailableError: The outcome is unknown; try again.

        """
        record = await self._store.get(self._keys.leader, timeout_s=timing.request_s)
        if record is None or record.lease != lease:
            return None
        outcome = await self._store.commit(
            [Put(self._keys.leader, value, lease)],
            # A delayed request must not overwrite what was written later.
            when=[
                Created(self._keys.leader, record.create_revision),
                Modified(self._keys.leader, record.mod_revision),
            ],
            timeout_s=timing.request_s,
        )
        return Acquired(record.create_revision) if outcome.succeeded else None

    async def release_key(self, term: Revision, timing: Timing) -> None:
        """Delete the leader key that was created at ``term``; no error if it is gone.

        Raises:
            StoreUnavailableError: It may still be there.

        """
        await self._store.commit(
            [Delete(self._keys.leader)],
            when=[Created(self._keys.leader, term)],
            timeout_s=timing.request_s,
        )
