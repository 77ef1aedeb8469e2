"""Deposition: a standby ends the term of a leader without heartbeats, before its lease expires.

``SilenceDetector`` decides, without I/O. ``Deposition`` executes the decision, in one transaction
that compares everything the decision was based on.

Theory of operation
-------------------
The silence is measured from the moment the last heartbeat was *observed* (see ``heartbeat``), and
only while the store answers this standby often enough. After a gap in the answers the measurement
starts again from zero: then this standby was slow or cut off, or the store was unavailable for
everybody, and the silence proves nothing about the leader. So an election inside etcd, a pause of
this machine, or a cut cable deposes nobody, and after a common outage the leader has a whole
timeout to send the next heartbeat.

Even a wrong measurement can depose only a leader that is still in the observed state: if it has
sent a heartbeat since, or changed its timeout, or its term has ended, a comparison fails.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mgr.clock import timestamp
from mgr.election.heartbeat import safe_takeover_s
from mgr.election.records import Ending, Leader, TermRecord, decode, encode
from mgr.election.timing import UNKNOWN_WINDOW_S
from mgr.store.api import (
    ABSENT,
    NO_LEASE,
    Compare,
    Created,
    Delete,
    Modified,
    Put,
    Record,
    Revision,
    Store,
    as_seen,
)
from mgr.store.keys import Keys

GAP_S: Final = 0.1
GAPS_PER_TIMEOUT: Final = 5
"""The longest gap between two answers of the store to a standby: a fifth of the heartbeat timeout,
and at least ``GAP_S``."""
POLLS_PER_GAP: Final = 2
GRAIN_S: Final = 0.001
"""A poll happens this long after the moment at which the limit is reached."""
RATE_LIMIT_S: Final = 10
"""At most one deposition per cluster in so many seconds. If a second one were needed that soon,
more than one manager is in trouble, and waiting for the lease to expire is safer."""


class LeaderSnapshot(NamedTuple):
    """The observed revisions of a leader. A change of any of them is a sign of life."""

    term: Revision
    leader: Revision
    """Modify revision of the leader key."""
    heartbeat: Revision
    """Modify revision of the heartbeat key; ``ABSENT`` if no heartbeat was ever written."""


class SilenceDetector:
    """Measures how long a leader has been silent, and decides when it may be deposed.

    Pure: it is given every answer of the store and the time at which the answer came.
    """

    def __init__(
        self,
        snapshot: LeaderSnapshot,
        timeout_s: float,
        now_s: float,
        *,
        sends_heartbeats: bool = True,
    ) -> None:
        """Begin to measure at ``now_s``, from ``snapshot`` of a leader with ``timeout_s``.

        ``timeout_s`` is the heartbeat timeout in the leader's record. ``sends_heartbeats`` is False
        for a leader whose record has no such timeout.
        """
        self.sends_heartbeats = sends_heartbeats
        self.snapshot = snapshot
        self.limit_s = safe_takeover_s(timeout_s)
        self.gap_s = max(GAP_S, timeout_s / GAPS_PER_TIMEOUT)
        self._since_s = now_s
        self._answered_s = now_s

    def on_answer(self, snapshot: LeaderSnapshot, timeout_s: float, now_s: float) -> None:
        """Record that the store answered at ``now_s`` with this snapshot and timeout.

        The measurement starts again if the snapshot changed, or if the answer before is too old.
        """
        if snapshot != self.snapshot or now_s - self._answered_s > self.gap_s:
            self.snapshot = snapshot
            self.limit_s = safe_takeover_s(timeout_s)
            self.gap_s = max(GAP_S, timeout_s / GAPS_PER_TIMEOUT)
            self._since_s = now_s
        self._answered_s = now_s

    def silent_s(self) -> float:
        """How long the leader has certainly been silent, in seconds.

        Counted up to the last answer, not up to now: of the time since, nothing is known.
        """
        return self._answered_s - self._since_s

    def may_depose(self) -> bool:
        """Whether the leader may be deposed."""
        return self.silent_s() > self.limit_s

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next poll of the store, in seconds."""
        due_s = self._since_s + self.limit_s - now_s
        return min(max(due_s, 0.0) + GRAIN_S, self.gap_s / POLLS_PER_GAP)


def heartbeat_timeout_s(leader: Record) -> float:
    """Return the heartbeat timeout in a leader's record; 0 if it has none or is unreadable.

    The standby's own setting is never used: managers may be configured differently, and a leader
    relies on the timeout in its own record.
    """
    value = decode(leader.value, Leader)
    return 0.0 if value is None else value.heartbeat_timeout_s


def unleased_timeout_s(leader: Record, lease_ttl_s: float) -> float:
    """How long to watch a leader key that has no lease; 0 if it has one.

    Somebody overwrote such a key by hand. A living leader repairs it, which changes its revision.
    After the death of the leader the key would exist for ever, so a standby removes it.
    """
    return lease_ttl_s if leader.lease == NO_LEASE else 0.0


class Deposition:
    """Ends the term of another manager."""

    def __init__(self, store: Store, keys: Keys, name: str) -> None:
        """Depose on behalf of manager ``name``."""
        self._store = store
        self._keys = keys
        self._name = name

    async def snapshot(self, leader: Record, *, timeout_s: float) -> LeaderSnapshot:
        """Read the heartbeat key, linearizably; ``leader`` is the leader key as last observed.

        Raises:
            StoreUnavailableError: The store did not answer.

        """
        heartbeat = await self._store.get(self._keys.heartbeat, timeout_s=timeout_s)
        seen = ABSENT if heartbeat is None else heartbeat.mod_revision
        return LeaderSnapshot(leader.create_revision, leader.mod_revision, seen)

    async def depose(self, silence: SilenceDetector, *, timeout_s: float) -> Revision | None:
        """End the silent term; return the revision at which it ended, or None if it did not.

        Raises:
            StoreUnavailableError: The outcome is unknown; poll again.

        """
        snapshot = silence.snapshot
        leader = await self._store.get(self._keys.leader, timeout_s=timeout_s)
        record = await self._store.get(self._keys.term_record, timeout_s=timeout_s)
        recent = await self._store.get(self._keys.deposed, timeout_s=timeout_s)
        if leader is None or leader.mod_revision != snapshot.leader or recent is not None:
            return None
        value = decode(leader.value, Leader)
        before = None if record is None else decode(record.value, TermRecord)
        ended_record = TermRecord(
            term=snapshot.term,
            name="" if value is None else value.name,
            reason="deposed",
            # The process may still run: it was only waited for, not seen dead.
            quiesced=False,
            window_s=_left_s(before, silence),
            ending=Ending(at=timestamp(), by=self._name, silent_s=round(silence.silent_s(), 3)),
        )
        grant = await self._store.grant(RATE_LIMIT_S, timeout_s=timeout_s)
        outcome = await self._store.commit(
            [
                Delete(self._keys.leader),
                Put(self._keys.term_record, encode(ended_record)),
                Put(self._keys.deposed, self._name, grant.lease),
            ],
            when=[
                Created(self._keys.leader, snapshot.term),
                Modified(self._keys.leader, snapshot.leader),
                _as_seen(self._keys.heartbeat, snapshot.heartbeat),
                as_seen(self._keys.term_record, record),
                Created(self._keys.deposed, ABSENT),
            ],
            timeout_s=timeout_s,
        )
        return outcome.revision if outcome.succeeded else None


def _left_s(record: TermRecord | None, silence: SilenceDetector) -> float:
    """How long after the deposition the silent term, or one before it, may still act, in seconds.

    ``record.window_s`` counts from the *end* of the leader key. The silence has already been waited
    for, so it is subtracted. That is right for earlier terms too: their time runs from the creation
    of the key, which was before the silence. A leader that sends no heartbeats is silent while it
    is healthy, so nothing is subtracted for it.
    """
    if record is None:
        return UNKNOWN_WINDOW_S
    counted_s = silence.silent_s() if silence.sends_heartbeats else 0.0
    return max(0.0, min(record.window_s, UNKNOWN_WINDOW_S) - counted_s)


def _as_seen(key: str, modified: Revision) -> Compare:
    return Created(key, ABSENT) if modified == ABSENT else Modified(key, modified)
