"""The mirror: an in-memory copy of a prefix of the store, kept up to date by one feed.

All code in the process reads the mirror. Reading is a dictionary lookup and is allowed on any
thread. ``age_s`` is the age of the copy; code that must not act on outdated data checks it first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
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
"""A feed proves at least once a second that it is current; after three without, it is not."""
HIGHEST: Final = chr(sys.maxunicode)
"""The highest character that a key can have."""
FEW_CHANGES: Final = 8
TURN_CHANGES_MAX: Final = 500
"""Most changes that are made before other tasks of the loop get a turn. A lease with thousands of
keys ends, or a prefix is deleted, in one revision; every worker gets all of it at the same moment.
More than any transaction of ours writes, so those are shown as a whole."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A changed key and its new record; None if it was deleted."""

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
    """The records under ``prefix``. Only ``run`` and ``note_own`` change it, on the loop."""

    def __init__(self, store: Store, prefix: str, clock: Clock) -> None:
        self.prefix: Final = prefix
        self._store = store
        self._clock = clock
        self._records: dict[str, Record] = {}
        # Replaced, never changed in place: another thread may be iterating over the old list.
        self._keys: list[str] = []
        # Own writes that are newer than the feed's position, by key.
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
                if isinstance(event, Changed):
                    event = await self._apply_in_turns(event)  # noqa: PLW2901 - the rest of it
                self._apply(event)

    async def wait_for_revision(self, revision: Revision, timeout_s: float) -> None:
        """Wait until the mirror has every change under the prefix up to ``revision``.

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

        Each record is consistent in itself. On a thread other than the loop's, two records may be
        of different revisions if the copy changes meanwhile.
        """
        keys, records = self._keys, self._records
        begin = bisect_left(keys, prefix)
        # The first text above all that begin with the prefix: with the next character in place of
        # its last one that has a next.
        stem = prefix.rstrip(HIGHEST)
        end = bisect_left(keys, stem[:-1] + chr(ord(stem[-1]) + 1), begin) if stem else len(keys)
        return {key: record for key in keys[begin:end] if (record := records.get(key)) is not None}

    @property
    def revision(self) -> Revision:
        """The revision up to which the mirror has every change under the prefix."""
        return self._revision

    @property
    def current(self) -> bool:
        """Whether the copy was proven current within the last three seconds."""
        return not self._interrupted and self.age_s() <= CURRENT_WITHIN_S

    def age_s(self) -> float:
        """Return the seconds since the copy was last proven current; infinite if it never was."""
        return float("inf") if self._proven_at is None else self._clock.now() - self._proven_at

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` on the loop with the changes under ``prefix``, after they are readable.

        The callback must neither raise nor wait. Existing records are not reported: read them
        first. Returns a function that ends the subscription.
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

        The feed reports the same write later, perhaps after older changes. Those are ignored, so
        no key ever goes back to an older value.
        """
        records, deleted = tuple(records), tuple(deleted)
        changes = [change for record in records if (change := self._put(record))]
        for key in deleted:
            changes += self._delete(key, revision)
        for key in (*(record.key for record in records), *deleted):
            # Remembered until the feed's position is beyond it: an older change of a key that was
            # deleted here, or an older listing, must not undo the write.
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
                log.warning("mirror of etcd is not current", extra={"why": event.why})
            self._interrupted = True
            return
        if isinstance(event, Listed):
            changes = self._replace(event)
        elif isinstance(event, Changed):
            changes = self._change(event)
        else:
            changes = []
        self._rekey(changes)
        self._advance(event.revision)
        if isinstance(event, Listed | Current):
            # ``Changed`` is no proof: it may have been buffered while the feed was broken.
            self._proven_at = self._clock.now()
            if self._interrupted:
                log.info("mirror of etcd is current", extra={"revision": self._revision})
            self._interrupted = False
        self._notify(changes)

    async def _apply_in_turns(self, event: Changed) -> Changed:
        """Make all but the last ``TURN_CHANGES_MAX`` changes of ``event``; return the rest.

        ``revision`` advances with the rest only: until then the copy is not at that revision.
        """
        put, deleted = event.put, event.deleted
        while len(put) + len(deleted) > TURN_CHANGES_MAX:
            now, put = put[:TURN_CHANGES_MAX], put[TURN_CHANGES_MAX:]
            gone, deleted = (
                ((), deleted) if now else (deleted[:TURN_CHANGES_MAX], deleted[TURN_CHANGES_MAX:])
            )
            changes = self._change(Changed(now, gone, event.revision))
            self._rekey(changes)
            self._notify(changes)
            await asyncio.sleep(0)
        return Changed(put, deleted, event.revision)

    def _change(self, event: Changed) -> _KeyChanges:
        changes = [change for record in event.put if (change := self._put(record))]
        for key in event.deleted:
            changes += self._delete(key, event.revision)
        return changes

    def _replace(self, listed: Listed) -> _KeyChanges:
        """Replace the records by a listing, except own writes that it cannot contain yet.

        A listing at revision R contains every change up to R, so it replaces a record here even if
        that has a higher revision: then etcd was restored from a backup with its revision set
        forward, and revisions from before the restore do not count. Own writes above R are kept
        only if they were acknowledged after the listing was requested: otherwise it would contain
        them.
        """
        if listed.revision < self._revision:
            # Only possible if the store was set back to an older state.
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
        """Update the sorted keys: insert or delete a few one by one, or sort again for many."""
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
        alone = changes[0].key if len(changes) == 1 else ""
        for prefix, callback in tuple(self._subscribers):
            if alone:  # as of most writes
                theirs = changes if alone.startswith(prefix) else ()
            else:
                theirs = [change for change in changes if change.key.startswith(prefix)]
            if theirs:
                try:
                    callback(theirs)
                except Exception:
                    # All managers get every record. If a subscriber raises because of one, that
                    # must not end the worker of each manager, one after the other.
                    log.exception("mirror subscriber failed on a change", extra={"prefix": prefix})
