"""A standby ends the term of a leader that has fallen silent, before its lease does.

``SilenceDetector`` decides and is pure; ``Deposition`` does, in one transaction that
compares everything the decision rested on.

Theory of operation
-------------------
The silence is counted from the moment the last sign of life was *observed* (see ``heartbeat``), and
only while this standby itself hears the store often enough. A gap of its own starts the count
anew: it was slow, or cut off, or the store was away for everybody, and then a silence says nothing
about the leader. So an election inside etcd, a pause of this machine, or a cut cable deposes
nobody, and after a common outage the leader has a whole window to be the first to speak.

However wrong the count were, only a leader can be deposed that is seen as it is: if it spoke
meanwhile, or changed its window, or its term ended, a comparison fails.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mgr.election.heartbeat import safe_takeover_s
from mgr.election.records import Leader, TermRecord, decode, encode
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
"""The longest gap in what a standby hears of the store: the fifth part of the window, and not
less than ``GAP_S``."""
POLLS_PER_GAP: Final = 2
GRAIN_S: Final = 0.001
"""A look comes this long after the moment it is about."""
RATE_LIMIT_S: Final = 10
"""At most one deposition in so many seconds in a cluster. After another one that soon, something
else is wrong than one manager, and the lease is the better judge."""


class LeaderSnapshot(NamedTuple):
    """What a standby saw of a leader. Whatever of it moves is a sign of life."""

    term: Revision
    leader: Revision
    heartbeat: Revision
    """Modify revisions; ``ABSENT`` for a pulse that was never written."""


class SilenceDetector:
    """Pure: told of every answer of the store and what it showed; says when it is enough."""

    def __init__(
        self,
        snapshot: LeaderSnapshot,
        timeout_s: float,
        now_s: float,
        *,
        sends_heartbeats: bool = True,
    ) -> None:
        """Begin to count: a leader whose record tells ``timeout_s`` gave ``snapshot``.

        ``sends_heartbeats``: it writes heartbeats, as far as its record tells.
        """
        self.sends_heartbeats = sends_heartbeats
        self.snapshot = snapshot
        self.limit_s = safe_takeover_s(timeout_s)
        self.gap_s = max(GAP_S, timeout_s / GAPS_PER_TIMEOUT)
        self._since_s = now_s
        self._answered_s = now_s

    def on_answer(self, snapshot: LeaderSnapshot, timeout_s: float, now_s: float) -> None:
        """The store answered, and this is what it showed."""
        if snapshot != self.snapshot or now_s - self._answered_s > self.gap_s:
            self.snapshot = snapshot
            self.limit_s = safe_takeover_s(timeout_s)
            self.gap_s = max(GAP_S, timeout_s / GAPS_PER_TIMEOUT)
            self._since_s = now_s
        self._answered_s = now_s

    def silent_s(self) -> float:
        """How long the leader has certainly been silent: up to the last answer, not up to now."""
        return self._answered_s - self._since_s

    def may_depose(self) -> bool:
        """Whether the leader may be deposed."""
        return self.silent_s() > self.limit_s

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the store is asked again."""
        due_s = self._since_s + self.limit_s - now_s
        return min(max(due_s, 0.0) + GRAIN_S, self.gap_s / POLLS_PER_GAP)


def heartbeat_timeout_s(leader: Record) -> float:
    """The window that a leader's record tells; 0 if it has no pulse or cannot be read.

    Never one's own setting: managers may be set differently, and a leader believes in its own.
    """
    value = decode(leader.value, Leader)
    return 0.0 if value is None else value.heartbeat_timeout_s


def unleased_timeout_s(leader: Record, lease_ttl_s: float) -> float:
    """How long to watch a leader key that no lease will ever remove; 0 if one will.

    Somebody overwrote it by hand. A leader that lives repairs it, which shows; of one that does
    not, the key would stand for ever.
    """
    return lease_ttl_s if leader.lease == NO_LEASE else 0.0


class Deposition:
    """The one deed against another manager's office."""

    def __init__(self, store: Store, keys: Keys, name: str) -> None:
        """Depose on behalf of manager ``name``."""
        self._store = store
        self._keys = keys
        self._name = name

    async def snapshot(self, leader: Record, *, timeout_s: float) -> LeaderSnapshot:
        """Read the pulse, linearizably; ``leader`` is the leader key as it was seen last.

        Raises:
            StoreUnavailableError: The store did not answer.

        """
        heartbeat = await self._store.get(self._keys.heartbeat, timeout_s=timeout_s)
        seen = ABSENT if heartbeat is None else heartbeat.mod_revision
        return LeaderSnapshot(leader.create_revision, leader.mod_revision, seen)

    async def depose(self, silence: SilenceDetector, *, timeout_s: float) -> Revision | None:
        """End the silent term; the revision at which it ended, or None if it did not.

        Raises:
            StoreUnavailableError: Nothing is known; look again.

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
            # Not seen dead: only outwaited.
            quiesced=False,
            window_s=_left_s(before, silence),
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
    """How long after the deposition the silent term, or one before it, may still act.

    The record says how long after the *end* of the key; the silence was outwaited already, and
    earlier terms, whose time runs from the key's making, were waited for at least as long. Of a
    leader that shows no sign of life while it is well, the silence says nothing.
    """
    if record is None:
        return UNKNOWN_WINDOW_S
    counted_s = silence.silent_s() if silence.sends_heartbeats else 0.0
    return max(0.0, min(record.window_s, UNKNOWN_WINDOW_S) - counted_s)


def _as_seen(key: str, modified: Revision) -> Compare:
    return Created(key, ABSENT) if modified == ABSENT else Modified(key, modified)
