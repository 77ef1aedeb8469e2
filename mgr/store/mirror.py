"""The in-memory copy of a prefix, fed by one feed: what everybody in the process reads.

Reading costs what a dictionary costs and may be done from any thread. It is as new as
``age_s`` says; who must not act on old news asks that first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from mgr.clock import Clock
from mgr.errors import StoreUnavailableError
from mgr.store.api import (
    ABSENT,
    Changed,
    Current,
    FeedEvent,
    Interrupted,
    Listed,
    Record,
    Revision,
    Store,
)

log = logging.getLogger(__name__)

CURRENT_WITHIN_S: Final = 3.0
"""A feed says at least once a second that it is current; after three silent ones it is not."""
FEW_CHANGES: Final = 8


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key as it is now; no record: it was deleted."""

    key: str
    record: Record | None


class _OwnWrite(NamedTuple):
    """A write of this process to one key: its revision, and when it was acknowledged."""

    revision: Revision
    at_s: float


NO_OWN_WRITE: Final = _OwnWrite(ABSENT, 0.0)

Callback = Callable[[Sequence[KeyChange]], None]
_KeyChanges = list[KeyChange]


class Mirror:
    """What stands under ``prefix``. Written by ``run`` and ``note_own`` only, on the loop."""

    def __init__(self, store: Store, prefix: str, clock: Clock) -> None:
        self.prefix: Final = prefix
        self._store = store
        self._clock = clock
        self._records: dict[str, Record] = {}
        # Replaced, never changed in place: another thread may be walking the old one.
        self._keys: list[str] = []
        # Own writes that the feed has not passed yet, by key.
        self._own: dict[str, _OwnWrite] = {}
        self._revision = ABSENT
        self._proven_at: float | None = None
        self._interrupted = True
        self._waiting: list[tuple[Revision, asyncio.Future[None]]] = []
        self._subscribers: list[tuple[str, Callback]] = []

    async def run(self) -> None:
        """Follow the store until cancelled (or until the store is closed)."""
        feed = self._store.follow(self.prefix)
        async with contextlib.aclosing(feed):
            async for event in feed:
                self._apply(event)

    async def wait_for_revision(self, revision: Revision, timeout_s: float) -> None:
        """Wait until everything up to ``revision`` under the prefix is seen.

        Raises:
            StoreUnavailableError: Not within ``timeout_s``.

        """
        if self._revision >= revision:
            return
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (revision, seen)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                await seen
        except TimeoutError:
            raise StoreUnavailableError(
                f"the copy of {self.prefix!r} is at revision {self._revision} and did not "
                f"reach {revision} within {timeout_s} s"
            ) from None
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(entry)

    def get(self, key: str) -> Record | None:
        """Return the record of ``key``, None if it is absent. From any thread."""
        return self._records.get(key)

    def list(self, prefix: str) -> dict[str, Record]:
        """Return the records whose key begins with ``prefix``, in key order. From any thread.

        Each record is whole; from a thread other than the loop's, two records may be of two
        revisions if the copy changes meanwhile.
        """
        keys, records = self._keys, self._records
        found = {}
        for index in range(bisect_left(keys, prefix), len(keys)):
            key = keys[index]
            if not key.startswith(prefix):
                break
            if (record := records.get(key)) is not None:
                found[key] = record
        return found

    @property
    def revision(self) -> Revision:
        """Everything under the prefix up to this revision is seen."""
        return self._revision

    @property
    def current(self) -> bool:
        """Whether the copy is known to be that of the last three seconds."""
        return not self._interrupted and self.age_s() <= CURRENT_WITHIN_S

    def age_s(self) -> float:
        """Seconds since the copy was last proven current; infinite before the first time."""
        return float("inf") if self._proven_at is None else self._clock.now() - self._proven_at

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` on the loop with each change under ``prefix``, once it is readable.

        It must neither raise nor wait. What is already there is not reported: read it first.
        Returns what ends the subscription.
        """
        entry = (prefix, callback)
        self._subscribers.append(entry)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(entry)

        return unsubscribe

    def note_own(
        self, records: Iterable[Record], deleted: Iterable[str], revision: Revision
    ) -> None:
        """Make a write of this process, committed at ``revision``, visible at once.

        The feed will tell of it too, perhaps after older news: no key ever goes backwards.
        """
        records, deleted = tuple(records), tuple(deleted)
        changes = [change for record in records if (change := self._put(record))]
        for key in deleted:
            changes += self._delete(key, revision)
        for key in (*(record.key for record in records), *deleted):
            # Remembered until the feed has passed it: older news of a key that was deleted, or
            # an older listing, must not undo it.
            if key.startswith(self.prefix) and revision > self._revision:
                self._own[key] = max(
                    _OwnWrite(revision, self._clock.now()), self._own.get(key, NO_OWN_WRITE)
                )
        self._rekey(changes)
        self._notify(changes)

    # -- inside ---------------------------------------------------------------------------------

    def _apply(self, event: FeedEvent) -> None:
        if isinstance(event, Interrupted):
            if not self._interrupted:
                log.warning("the copy of the store is not current", extra={"why": event.why})
            self._interrupted = True
            return
        if isinstance(event, Listed):
            changes = self._replace(event)
        elif isinstance(event, Changed):
            changes = [change for record in event.put if (change := self._put(record))]
            for key in event.deleted:
                changes += self._delete(key, event.revision)
        else:
            changes = []
        self._rekey(changes)
        self._advance(event.revision)
        if isinstance(event, Listed | Current):
            # ``Changed`` proves nothing: it may be what piled up while the feed was broken.
            self._proven_at = self._clock.now()
            if self._interrupted:
                log.info("the copy of the store is current", extra={"revision": self._revision})
            self._interrupted = False
        self._notify(changes)

    def _replace(self, listed: Listed) -> _KeyChanges:
        """Take a listing: it wins, except over own writes that it cannot hold yet.

        A listing at revision R holds every change up to R. So what it lacks or shows otherwise
        is not so, whatever revision the record here has: etcd was restored from a backup, with
        its revision set forward, and the revisions of its old life must not outrank the new
        ones. Own writes above R are kept only if they were acknowledged after the listing was
        asked for: it would hold them otherwise.
        """
        if listed.revision < self._revision:
            # Only a store set back to an older state says this.
            self._revision = ABSENT
            self._own.clear()
        self._own = {
            key: own
            for key, own in self._own.items()
            if own.revision > listed.revision and own.at_s >= listed.asked_at_s
        }
        there = {record.key: record for record in listed.records if record.key not in self._own}
        changes = [
            KeyChange(key, record)
            for key, record in there.items()
            if record != self._records.get(key)
        ]
        self._records.update(there)
        for key in [key for key in self._keys if key not in there and key not in self._own]:
            del self._records[key]
            changes.append(KeyChange(key, None))
        return changes

    def _put(self, record: Record) -> KeyChange | None:
        known = self._records.get(record.key)
        if not record.key.startswith(self.prefix):
            return None
        if known is not None and known.mod_revision >= record.mod_revision:
            return None
        if self._own.get(record.key, NO_OWN_WRITE).revision > record.mod_revision:
            return None
        self._records[record.key] = record
        return KeyChange(record.key, record)

    def _delete(self, key: str, revision: Revision) -> _KeyChanges:
        known = self._records.get(key)
        if known is None or known.mod_revision > revision:
            return []
        del self._records[key]
        return [KeyChange(key, None)]

    def _rekey(self, changes: Sequence[KeyChange]) -> None:
        """Bring the sorted keys up to date: a few by place, many by sorting once."""
        if len(changes) > FEW_CHANGES:
            self._keys = sorted(self._records)
            return
        keys = self._keys
        for change in changes:
            at = bisect_left(keys, change.key)
            known = at < len(keys) and keys[at] == change.key
            if known == (change.record is not None):
                continue
            if keys is self._keys:
                keys = keys.copy()
            if known:
                del keys[at]
            else:
                keys.insert(at, change.key)
        self._keys = keys

    def _advance(self, revision: Revision) -> None:
        self._revision = max(self._revision, revision)
        for key in [key for key, own in self._own.items() if own.revision <= self._revision]:
            del self._own[key]
        for wanted, seen in tuple(self._waiting):
            if wanted <= self._revision and not seen.done():
                seen.set_result(None)

    def _notify(self, changes: Sequence[KeyChange]) -> None:
        if not changes:
            return
        for prefix, callback in tuple(self._subscribers):
            theirs = [change for change in changes if change.key.startswith(prefix)]
            if theirs:
                try:
                    callback(theirs)
                except Exception:
                    # Every manager sees every record: one that a subscriber chokes on must not
                    # end the worker of each of them, one after the other.
                    log.exception("a change could not be acted on", extra={"prefix": prefix})
