"""Fenced writes: the active writes only through this, and a write is refused after its term.

Theory of operation
-------------------
Every transaction compares three things.

- *The term*: the create revision of the leader key. A late write of an old leader is refused.
- *The keys it changes*, with the last revision of each that this process has seen. A repeated
  attempt is refused if the first one was done after all; so is an attempt that arrives after a
  newer write.
- *The key* ``order``. The second compare is not enough: an absent key has no revision, so an
  attempt to create it still succeeds after the key was created, acknowledged and deleted again;
  and a ``DeletePrefix`` compares no key at all. So before anything is sent again, an unanswered
  attempt is made impossible: a transaction (the *barrier*) writes ``order``. All earlier attempts
  compare an older revision of it and are refused whenever they arrive. Then the keys are read, and
  the result is final: the write was done, or it was not and can be sent again.

Ordinary writes do not write ``order``; they only compare it, so they can run concurrently. A write
that is refused only because ``order`` has changed was certainly not done and is sent again.
``docs/adr/0033`` discusses the alternatives.

A caller that finds the requested value already stored writes nothing but acknowledges it. It must
read with ``read_settled``, whose result no earlier attempt can change any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from mgr.errors import (
    FencedError,
    MgrError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TooLargeError,
)
from mgr.failpoint import Point, reach
from mgr.store.api import (
    ABSENT,
    NO_LEASE,
    OPERATIONS_MAX,
    Compare,
    Created,
    Delete,
    DeletePrefix,
    LeaseId,
    Modified,
    Operation,
    Outcome,
    Put,
    Record,
    Revision,
    Store,
)
from mgr.store.attempt import Write, holds, mod_revision_of
from mgr.store.keys import Keys
from mgr.store.limits import check_commit
from mgr.store.mirror import Mirror
from mgr.store.space import StoreSpace
from mgr.store.turns import Turn, Turns

TIMEOUT_S: Final = 5.0
"""Time limit of one write with all its attempts, unless the caller gives another."""
ATTEMPT_S: Final = 1.0
"""After this an attempt counts as unanswered, and the next one goes to another endpoint."""
PAUSE_S: Final = 0.05
PAUSE_MAX_S: Final = 0.5
GRAIN_S: Final = 0.001
FENCE_COMPARES: Final = 2
"""Compares of each transaction beside the caller's: on the leader key and on ``order``."""


class FencedStore:
    """The store of one term, for writing: a write succeeds only while the term lasts.

    Use it on one event loop.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        term: Revision,
        *,
        mirror: Mirror | None = None,
        on_fenced: Callable[[FencedError], None] | None = None,
        space: StoreSpace | None = None,
    ) -> None:
        """Write for ``term``, the create revision of the leader key.

        ``mirror`` saves a read before each write, and shows each write at once. ``on_fenced`` is
        called once, on the loop, when the store first refuses a write because the term is over.
        ``space`` refuses writes that would use etcd's reserve.
        """
        self._space = space
        self.term: Final = term
        self._store = store
        self._fence: Final = Created(keys.leader, term)
        self._order_key: Final = keys.order
        # It may be outdated: a refused write reads the present revision.
        self._order = mod_revision_of(mirror.get(keys.order)) if mirror is not None else ABSENT
        # An attempt that was made impossible was done before this revision, or never will be.
        self._moved_at = ABSENT
        self._mirror = mirror
        self._on_fenced = on_fenced
        self._over = False
        self._turns = Turns()

    async def put(
        self, key: str, value: str, lease: LeaseId = NO_LEASE, *, timeout_s: float | None = None
    ) -> Revision:
        """Write ``key``; raises what ``commit`` raises."""
        return await self.commit((Put(key, value, lease),), timeout_s=timeout_s)

    async def delete(self, key: str, *, timeout_s: float | None = None) -> Revision:
        """Delete ``key``, no error if it is absent; raises what ``commit`` raises."""
        return await self.commit((Delete(key),), timeout_s=timeout_s)

    async def commit(
        self,
        operations: Sequence[Operation],
        when: Sequence[Compare] = (),
        *,
        timeout_s: float | None = None,
    ) -> Revision:
        """Do all ``operations`` in one transaction, if the term still lasts and ``when`` holds.

        Checking leadership before the write would not be enough: the process can be paused between
        check and write for longer than a lease, and then it would overwrite what its successor
        wrote. Only the store can check and write at once.

        Returns the revision at which the write was done; the mirror shows it by then. After this
        has returned or raised, none of its attempts can undo a later write of this term: an attempt
        that was never answered is made impossible before the next write to the same keys.

        Raises:
            FencedError: The term is over. Nothing was written; the worker must shut down.
            ConflictError: ``when`` did not hold. Nothing was written.
            OutcomeUnknownError: Whether it was done could not be found out in time.
            StoreUnavailableError: Nothing was done, and nothing of it can be done later.
            TooLargeError: With the fencing compares it is above the limits of one transaction.
            StoreFullError: Etcd is nearly full (``mgr.store.space``). Nothing was written.

        """
        timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        check_commit(operations, when)
        if self._space is not None:
            self._space.admit(operations, self._known)
        if len(operations) + len(when) > OPERATIONS_MAX - FENCE_COMPARES:
            raise TooLargeError(
                f"{len(operations)} operations under {len(when)} conditions; "
                f"the limit for both together is {OPERATIONS_MAX - FENCE_COMPARES}"
            )
        ends_at = asyncio.get_running_loop().time() + timeout_s
        mine = Turn.of(operations)
        earlier = self._turns.begin(mine)
        write = Write(mine.name, operations, when, self._fence, self._order_key)
        try:
            await self._wait_for(earlier, mine, timeout_s)
            await self._settle_earlier(mine, ends_at)
            if self._over:
                raise FencedError(mine.name, term=self.term)
            write.known = await self._look_up(mine, ends_at)
            return await self._drive(write, ends_at)
        finally:
            # Also runs if the caller was cancelled while an attempt was not answered yet.
            self._turns.end(mine, write.unanswered)

    def _known(self, key: str) -> Record | None:
        return None if self._mirror is None else self._mirror.get(key)

    async def read_settled(
        self,
        keys: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Record]:
        """Return the records of ``keys`` and ``prefixes`` that no earlier write can change.

        Use this before acknowledging a value that is not written because it is stored already. It
        waits for earlier writes of this term to the same keys, and makes their unanswered attempts
        impossible. If there are none, nothing is sent and the mirror's records are returned.
        Otherwise the records are read, and the mirror shows them when this returns.

        Raises:
            FencedError: The term is over.
            StoreUnavailableError: The records could not be settled in time.

        """
        timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        ends_at = asyncio.get_running_loop().time() + timeout_s
        mine = Turn.on(keys, prefixes)
        earlier = self._turns.begin(mine)
        try:
            await self._wait_for(earlier, mine, timeout_s)
            await self._settle_earlier(mine, ends_at)
            if self._over:
                raise FencedError(mine.name, term=self.term)
            if self._mirror is not None and self._mirror.revision >= self._moved_at:
                shown = self._mirror.get
                found = {key: record for key in keys if (record := shown(key)) is not None}
                for prefix in prefixes:
                    found |= self._mirror.list(prefix)
                return found
            return await self._read(mine, ends_at)
        finally:
            self._turns.end(mine, None)

    async def _read(self, mine: Turn, ends_at: float) -> dict[str, Record]:
        """Read the keys and prefixes of ``mine`` from the store, and update the mirror."""
        loop = asyncio.get_running_loop()
        # ``mine`` holds up all writes of this term to these keys while they are read, so the
        # result is valid at this revision.
        at = self._moved_at
        found: dict[str, Record] = {}
        for key in mine.keys:
            record = await self._store.get(key, timeout_s=ends_at - loop.time())
            if record is not None:
                found[key] = record
        for prefix in mine.prefixes:
            listing = await self._store.list(prefix, timeout_s=ends_at - loop.time())
            found |= {record.key: record for record in listing.records}
        if self._mirror is not None:
            shown = [*mine.keys, *(k for each in mine.prefixes for k in self._mirror.list(each))]
            gone = [key for key in shown if key not in found]
            self._mirror.note_own(found.values(), gone, at)
        return found

    async def catch_up(self, when: Sequence[Compare], *, timeout_s: float) -> None:
        """Wait until the mirror shows the changes because of which ``when`` did not hold.

        A computed write calls it before it computes its operations again.

        Raises:
            StoreUnavailableError: The mirror does not show them within ``timeout_s``.

        """
        mirror = self._mirror
        if mirror is None or not all(holds(each, mirror.get(each.key)) for each in when):
            return
        ends_at = asyncio.get_running_loop().time() + timeout_s
        # Any linearizable read returns the store's present revision; which key it reads does not
        # matter.
        seen = await self._store.list(self._order_key, timeout_s=timeout_s)
        left_s = max(0.0, ends_at - asyncio.get_running_loop().time())
        await mirror.wait_for_revision(seen.revision, left_s)

    async def _wait_for(self, earlier: Sequence[Turn], mine: Turn, timeout_s: float) -> None:
        if not earlier:
            return
        try:
            async with asyncio.timeout(timeout_s):
                for turn in earlier:
                    await turn.over.wait()
        except TimeoutError:
            raise StoreUnavailableError(
                f"{mine.name!r}: earlier writes to it did not finish within {timeout_s} s; "
                "this one was not sent"
            ) from None

    async def _settle_earlier(self, mine: Turn, ends_at: float) -> None:
        """Make every attempt impossible that may still change a key of ``mine``.

        Raises:
            FencedError: The term is over; the write of ``mine`` was not sent.
            StoreUnavailableError: There was not enough time; the write of ``mine`` was not sent.

        """
        pause = _Pause(ends_at)
        trouble: StoreUnavailableError | None = None
        while (compared := self._turns.unsettled(mine)) is not None:
            if (left_s := pause.left_s()) <= 0:
                raise StoreUnavailableError(
                    f"{mine.name!r}: whether an earlier write to it was done could not be found "
                    f"out in time; this one was not sent ({trouble})"
                ) from trouble
            try:
                outcome = await self._barrier(compared, (), min(ATTEMPT_S, left_s))
            except StoreUnavailableError as error:
                trouble = error
                await pause.sleep()
                continue
            if not outcome.succeeded:
                if not holds(self._fence, outcome.found[0]):
                    self._mark_fenced(mine.name)
                    raise FencedError(mine.name, term=self.term)
                self._turns.settle(mine, compared)

    async def _look_up(self, mine: Turn, ends_at: float) -> dict[str, Record | None]:
        """Return the last known record of each key to be changed; it may be outdated."""
        known: dict[str, Record | None] = {}
        for key in mine.keys:
            if self._mirror is not None and key.startswith(self._mirror.prefix):
                known[key] = self._mirror.get(key)
            else:
                left_s = ends_at - asyncio.get_running_loop().time()
                known[key] = await self._store.get(key, timeout_s=left_s)
        return known

    async def _drive(self, write: Write, ends_at: float) -> Revision:
        """Send ``write`` until its outcome is known or the time is over."""
        pause = _Pause(ends_at)
        trouble: StoreUnavailableError | None = None
        while (left_s := pause.left_s()) > 0:
            attempt_s = min(ATTEMPT_S, left_s)
            compared = write.unanswered
            try:
                if compared is None:
                    outcome = await self._attempt(write, attempt_s)
                else:
                    outcome = await self._barrier(compared, write.reads(), attempt_s)
            except StoreUnavailableError as error:
                trouble = error
                await pause.sleep()
                continue
            if not outcome.succeeded and not write.still_leads(outcome):
                self._mark_fenced(write.name)
            if compared is None:
                revision = write.on_answer(outcome)
            elif outcome.succeeded:
                # The barrier wrote ``order`` but read nothing. The next barrier compares the old
                # revision, so it is refused, and a refusal reads the keys.
                continue
            else:
                revision = write.settle(outcome)
            if revision is not None:
                self._update_mirror(write, revision)
                return revision
        unknown = write.unanswered is not None or write.doubtful
        kind = OutcomeUnknownError if unknown else StoreUnavailableError
        raise kind(f"write {write.name!r}: given up, no time left: {trouble}") from trouble

    async def _attempt(self, write: Write, timeout_s: float) -> Outcome:
        """Send ``write`` once; ``write.unanswered`` stays set if the outcome is unknown."""
        compared = self._order
        reach(Point.WRITE)
        write.unanswered = compared
        try:
            outcome = await self._store.commit(
                write.operations,
                when=write.compares(compared),
                otherwise_get=write.reads(),
                timeout_s=timeout_s,
            )
        except OutcomeUnknownError:
            raise
        except MgrError:
            write.unanswered = None
            raise
        write.unanswered = None
        if not outcome.succeeded:
            self._note_order(
                mod_revision_of(outcome.found[1]), outcome.revision, instead_of=compared
            )
        return outcome

    async def _barrier(self, compared: Revision, reads: Sequence[str], timeout_s: float) -> Outcome:
        """Make every attempt impossible that compares ``order`` at ``compared``.

        They are impossible when this returns. If the outcome is not a success, ``order`` had
        changed before or the term is over, and ``reads`` were read. A barrier that arrives late is
        harmless: concurrent writes are refused because ``order`` changed, and are sent again.
        """
        proof = Modified(self._order_key, compared)
        outcome = await self._store.commit(
            (Put(self._order_key, str(self.term)),),
            when=(self._fence, proof),
            otherwise_get=reads or (self._fence.key, self._order_key),
            timeout_s=timeout_s,
        )
        now = outcome.revision if outcome.succeeded else mod_revision_of(outcome.found[1])
        self._note_order(now, outcome.revision, instead_of=compared)
        return outcome

    def _note_order(self, order: Revision, at: Revision, *, instead_of: Revision) -> None:
        """Record that ``order`` was last changed at ``order``; an outdated answer is ignored.

        ``at`` is the store's revision of that answer, ``instead_of`` what the attempt compared.
        """
        if order != instead_of:
            self._moved_at = max(self._moved_at, at)
        # A smaller revision counts only if it refused our own compare: the key was then deleted
        # by hand.
        if order > self._order or self._order == instead_of:
            self._order = order
        self._turns.settle_below(order)

    def _mark_fenced(self, name: str) -> None:
        if not self._over:
            self._over = True
            if self._on_fenced is not None:
                self._on_fenced(FencedError(name, term=self.term))

    def _update_mirror(self, write: Write, revision: Revision) -> None:
        if self._mirror is None:
            return
        deleted = [op.key for op in write.operations if isinstance(op, Delete)]
        for operation in write.operations:
            if isinstance(operation, DeletePrefix):
                deleted += self._mirror.list(operation.prefix)
        self._mirror.note_own(write.records(revision), deleted, revision)


class _Pause:
    """The growing pauses between attempts, and the time left for all of them."""

    def __init__(self, ends_at: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_at = ends_at
        self._pause_s = 0.0

    def left_s(self) -> float:
        left_s = self._ends_at - self._loop.time()
        # A request with less time than this would certainly not be answered in time.
        return left_s if left_s > GRAIN_S else 0.0

    async def sleep(self) -> None:
        await asyncio.sleep(max(0.0, min(self._pause_s, self.left_s())))
        self._pause_s = min(2 * self._pause_s + PAUSE_S, PAUSE_MAX_S)
