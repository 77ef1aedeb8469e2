"""One tick of a candidate: look at what is known, decide, try."""

from __future__ import annotations

import random
from dataclasses import dataclass

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
    """One key as its feed last showed it.

    Attributes:
        record: The key; None while it is absent.
        known: Whether the feed was current when it last spoke. Unknown is neither here nor gone.
        revision: The newest revision the feed told of. What is older says nothing new.
        changed_s: When it last appeared or vanished, on the clock.

    """

    key: str
    record: Record | None = None
    known: bool = False
    revision: Revision = ABSENT
    changed_s: float = float("-inf")

    def apply(self, event: FeedEvent, now_s: float) -> None:
        """Bring up to date what is known."""
        match event:
            case Interrupted():
                self.known = False
                return
            case Listed(records=records, revision=revision):
                # A fresh start, whatever was known: the store may have been restored.
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
        """Take in how a transaction found the key at ``revision``, if the feed is not as far."""
        if revision > self.revision:
            self.revision = revision
            self._set_record(record, now_s)

    def compare_unchanged(self) -> Compare:
        """The comparison that holds while the key is as it was seen."""
        if self.record is None:
            return Created(self.key, ABSENT)
        return Modified(self.key, self.record.mod_revision)

    def _set_record(self, record: Record | None, now_s: float) -> None:
        if (record is None) != (self.record is None):
            self.changed_s = now_s
        self.record = record


class Candidate:
    """Tries for the leader key. Level, not edge: each tick looks at what is true now."""

    def __init__(
        self, store: Store, keys: Keys, clock: Clock, name: str, rng: random.Random
    ) -> None:
        """Campaign for manager ``name``."""
        self.leader = WatchedKey(keys.leader)
        self.transfer = WatchedKey(keys.transfer)
        self.down = WatchedKey(keys.down)
        self.version = WatchedKey(keys.version)
        self._store = store
        self._keys = keys
        self._clock = clock
        self._name = name
        self._rng = rng

    def campaign_delay_s(self, timing: Timing) -> float | None:
        """How long to wait before trying; None while somebody leads or nobody is to, as is known.

        A successor named by ``transfer`` tries at once and the others leave it a head start.
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
        """Whether the feed shows the leader key hanging on ``lease``: an attempt came through."""
        return self.leader.record is not None and self.leader.record.lease == lease

    async def campaign(self, value: str, lease: LeaseId, timing: Timing) -> Revision | None:
        """Try once to make the leader key; its create revision, or None if that failed.

        An unclear answer is read back, never sent again blindly: the first attempt may have
        come through. One that comes through even later is found by ``holds_leader_key``.

        Raises:
            LeaseExpiredError: The lease is gone; nothing was done.
            StoreUnavailableError: Nothing is known; look again.

        """
        watched_keys = (self.leader, self.transfer, self.down, self.version)
        try:
            outcome = await self._store.commit(
                [Put(self._keys.leader, value, lease)],
                # A transfer that was not heard of yet makes the attempt fail, instead of
                # snatching the office from the named successor; the answer tells of it. So does
                # the wish that nobody leads: once it stands there, nobody begins to.
                when=(
                    Created(self._keys.leader, ABSENT),
                    self.transfer.compare_unchanged(),
                    Created(self._keys.down, ABSENT),
                    # Whoever decided that he is not too old decided it of this very release.
                    self.version.compare_unchanged(),
                ),
                otherwise_get=tuple(watched_key.key for watched_key in watched_keys),
                timeout_s=timing.request_s,
            )
        except OutcomeUnknownError:
            return await self.claim(value, lease, timing)
        if outcome.succeeded:
            return outcome.revision
        now_s = self._clock.now()
        for watched_key, record in zip(watched_keys, outcome.found, strict=True):
            watched_key.apply_read(record, outcome.revision, now_s)
        return None

    async def claim(self, value: str, lease: LeaseId, timing: Timing) -> Revision | None:
        """Read the leader key back: its create revision if it hangs on ``lease``, or None.

        It is written anew, which makes it good as of now: one that an earlier attempt made may
        name a worker that is gone, and may have been there unheard of for long.

        Raises:
            StoreUnavailableError: Nothing is known; look again.

        """
        record = await self._store.get(self._keys.leader, timeout_s=timing.request_s)
        if record is None or record.lease != lease:
            return None
        outcome = await self._store.commit(
            [Put(self._keys.leader, value, lease)],
            # Held up on its way, it must not undo what was written later.
            when=[
                Created(self._keys.leader, record.create_revision),
                Modified(self._keys.leader, record.mod_revision),
            ],
            timeout_s=timing.request_s,
        )
        return record.create_revision if outcome.succeeded else None

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
