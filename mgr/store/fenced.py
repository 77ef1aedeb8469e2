"""The only write path of the active: writes that end with its term.

Every transaction compares the create revision of the leader key with the term, and every key
it changes with the revision this process knows of it. The first makes a late write of an old
leader impossible. The second makes an unclear outcome harmless: sent again, a transaction that
was done after all is refused and shows what stands there; and a first attempt that was held up
on its way cannot overwrite what was written after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mgr.errors import (
    ConflictError,
    FencedError,
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
from mgr.store.keys import Keys
from mgr.store.limits import check_commit
from mgr.store.mirror import Mirror

TIMEOUT_S: Final = 5.0
"""For one write with all its attempts, where the caller says nothing else."""
ATTEMPT_S: Final = 1.0
"""After this an attempt counts as unclear, and the next one goes to another endpoint."""
PAUSE_S: Final = 0.05
PAUSE_MAX_S: Final = 0.5


class FencedStore:
    """Writes on behalf of one term. Use it on one event loop."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        term: Revision,
        *,
        mirror: Mirror | None = None,
        on_fenced: Callable[[FencedError], None] | None = None,
    ) -> None:
        """Write for ``term``, the create revision of the leader key.

        ``mirror`` saves a read before each write and shows own writes at once. ``on_fenced`` is
        called once, on the loop, when the store first says that the term is over.
        """
        self.term: Final = term
        self._store = store
        self._guard: Final = Created(keys.leader, term)
        self._mirror = mirror
        self._on_fenced = on_fenced
        self._over = False
        self._turns: list[_Turn] = []

    async def put(
        self, key: str, value: str, lease: LeaseId = NO_LEASE, *, timeout_s: float | None = None
    ) -> Revision:
        """Write ``key``; see ``commit`` for what is raised."""
        return await self.commit((Put(key, value, lease),), timeout_s=timeout_s)

    async def delete(self, key: str, *, timeout_s: float | None = None) -> Revision:
        """Remove ``key``, no error where it is absent; see ``commit`` for what is raised."""
        return await self.commit((Delete(key),), timeout_s=timeout_s)

    async def commit(
        self,
        operations: Sequence[Operation],
        when: Sequence[Compare] = (),
        *,
        timeout_s: float | None = None,
    ) -> Revision:
        """Do all ``operations`` in one transaction, if the term still leads and ``when`` holds.

        Asking "do I still lead?" first would not do. The process can be paused between the
        question and the write for longer than a lease, and then it overwrites what its
        successor wrote. Only the store can judge both at once.

        Returns the revision at which everything stands as asked. The mirror shows it by then.
        One thing an unclear outcome can still do later: a ``DeletePrefix`` that stayed unclear
        takes along keys that were made under the prefix meanwhile.

        Raises:
            FencedError: The term is over. Nothing was written; retire.
            ConflictError: ``when`` did not hold. Nothing was written.
            OutcomeUnknownError: It could not be found out in time whether it was done.
            StoreUnavailableError: Nothing was sent in time, so nothing was done.
            TooLargeError: With its proofs, it is above what one transaction may hold.

        """
        timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        check_commit(operations, when)
        if len(operations) + len(when) >= OPERATIONS_MAX:
            raise TooLargeError(
                f"{len(operations)} operations under {len(when)} conditions; "
                f"the limit for both together is {OPERATIONS_MAX - 1}"
            )
        ends_at = asyncio.get_running_loop().time() + timeout_s
        mine = _Turn.of(operations)
        earlier = [turn for turn in self._turns if turn.collides(mine)]
        self._turns.append(mine)
        try:
            await self._wait_for(earlier, mine, timeout_s)
            if self._over:
                raise FencedError(mine.name, term=self.term)
            known = await self._look_up(mine, ends_at)
            return await self._drive(
                _Write(mine.name, operations, when, self._guard, known), ends_at
            )
        finally:
            self._turns.remove(mine)
            mine.over.set()

    async def _wait_for(self, earlier: Sequence[_Turn], mine: _Turn, timeout_s: float) -> None:
        if not earlier:
            return
        try:
            async with asyncio.timeout(timeout_s):
                for turn in earlier:
                    await turn.over.wait()
        except TimeoutError:
            raise StoreUnavailableError(
                f"{mine.name!r}: earlier writes to it were not done within {timeout_s} s; "
                "this one was not sent"
            ) from None

    async def _look_up(self, mine: _Turn, ends_at: float) -> dict[str, Record | None]:
        """Return what is known of the keys to be changed; it need not be the latest."""
        known: dict[str, Record | None] = {}
        for key in mine.keys:
            if self._mirror is not None and key.startswith(self._mirror.prefix):
                known[key] = self._mirror.get(key)
            else:
                left_s = ends_at - asyncio.get_running_loop().time()
                known[key] = await self._store.get(key, timeout_s=left_s)
        return known

    async def _drive(self, write: _Write, ends_at: float) -> Revision:
        """Send ``write`` until the store has said what became of it."""
        loop = asyncio.get_running_loop()
        pause_s = 0.0
        trouble: StoreUnavailableError | None = None
        while (left_s := ends_at - loop.time()) > 0:
            reach(Point.WRITE)
            try:
                outcome = await self._store.commit(
                    write.operations,
                    when=write.compares(),
                    otherwise_get=write.reads(),
                    timeout_s=min(ATTEMPT_S, left_s),
                )
            except StoreUnavailableError as error:
                write.unclear |= isinstance(error, OutcomeUnknownError)
                trouble = error
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s + PAUSE_S, PAUSE_MAX_S)
                continue
            if not outcome.succeeded and not write.leads(outcome):
                self._fence(write.name)
            if (revision := write.judge(outcome)) is not None:
                self._show(write, revision)
                return revision
        kind = OutcomeUnknownError if write.unclear else StoreUnavailableError
        raise kind(f"write {write.name!r}: given up in time: {trouble}") from trouble

    def _fence(self, name: str) -> None:
        if not self._over:
            self._over = True
            if self._on_fenced is not None:
                self._on_fenced(FencedError(name, term=self.term))

    def _show(self, write: _Write, revision: Revision) -> None:
        if self._mirror is None:
            return
        deleted = [op.key for op in write.operations if isinstance(op, Delete)]
        for operation in write.operations:
            if isinstance(operation, DeletePrefix):
                deleted += self._mirror.under(operation.prefix)
        self._mirror.note_own(write.records(revision), deleted, revision)


@dataclass(slots=True, eq=False)
class _Turn:
    """A write under way and what it touches. Later ones that touch the same wait for it."""

    name: str
    keys: frozenset[str]
    prefixes: tuple[str, ...]
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, operations: Sequence[Operation]) -> _Turn:
        keys = [op.key for op in operations if not isinstance(op, DeletePrefix)]
        prefixes = tuple(op.prefix for op in operations if isinstance(op, DeletePrefix))
        return cls(next(iter((*keys, *prefixes)), ""), frozenset(keys), prefixes)

    def collides(self, other: _Turn) -> bool:
        if not self.prefixes and not other.prefixes:
            return not self.keys.isdisjoint(other.keys)
        return (
            not self.keys.isdisjoint(other.keys)
            or any(key.startswith(self.prefixes) for key in (*other.keys, *other.prefixes))
            or any(key.startswith(other.prefixes) for key in (*self.keys, *self.prefixes))
        )


@dataclass(slots=True)
class _Write:
    """One write through all its attempts: what it needs to hold, and what an answer means."""

    name: str
    operations: Sequence[Operation]
    when: Sequence[Compare]
    guard: Created
    known: dict[str, Record | None]
    unclear: bool = False
    """An attempt was sent and not answered."""

    def compares(self) -> tuple[Compare, ...]:
        """Return the proof of the term, the caller's conditions, and what is known of each key."""
        return (
            self.guard,
            *self.when,
            *(Modified(key, _modified(record)) for key, record in self.known.items()),
        )

    def reads(self) -> tuple[str, ...]:
        """Return the keys to be read if a compare fails, in the order of ``compares``."""
        return (self.guard.key, *(compare.key for compare in self.when), *self.known)

    def leads(self, outcome: Outcome) -> bool:
        """Whether the term still led at a refusal."""
        return _holds(self.guard, outcome.found[0])

    def judge(self, outcome: Outcome) -> Revision | None:
        """Return the revision at which all is done, or None: send it again.

        Raises:
            FencedError: Refused, since the term is over.
            ConflictError: Refused, since a condition of the caller did not hold.
            OutcomeUnknownError: It cannot be told whether an earlier attempt was done.

        """
        if outcome.succeeded:
            return outcome.revision
        conditions = outcome.found[1 : 1 + len(self.when)]
        now = dict(zip(self.known, outcome.found[1 + len(self.when) :], strict=True))
        if self.unclear:
            if (revision := self._standing(now, outcome.revision)) is not None:
                self.known = now
                return revision
            raise OutcomeUnknownError(
                f"write {self.name!r}: an attempt was not answered, and by now something else "
                "stands there"
            )
        if not self.leads(outcome):
            raise FencedError(self.name, term=self.guard.revision)
        for compare, record in zip(self.when, conditions, strict=True):
            if not _holds(compare, record):
                raise ConflictError(
                    f"write {self.name!r}: {compare.key!r} was changed by somebody else"
                )
        # Only our own knowledge of the keys was old: the last writer wins, and that is us.
        self.known = now
        return None

    def records(self, revision: Revision) -> list[Record]:
        """Return what the puts made at ``revision``."""
        made = []
        for operation in self.operations:
            if isinstance(operation, Put):
                before = self.known[operation.key]
                created = before.create_revision if before else revision
                made.append(
                    Record(operation.key, operation.value, created, revision, operation.lease)
                )
        return made

    def _standing(self, now: dict[str, Record | None], revision: Revision) -> Revision | None:
        """Return when everything came to stand as asked, None if it does not stand so."""
        for operation in self.operations:
            if isinstance(operation, Put):
                record = now[operation.key]
                if (
                    record is None
                    or (record.value, record.lease) != (operation.value, operation.lease)
                    or record.mod_revision == _modified(self.known[operation.key])
                ):
                    return None
                revision = record.mod_revision
            elif isinstance(operation, Delete) and now[operation.key] is not None:
                return None
        return revision


def _modified(record: Record | None) -> Revision:
    return ABSENT if record is None else record.mod_revision


def _holds(compare: Compare, record: Record | None) -> bool:
    if record is None:
        return compare.revision == ABSENT
    actual = record.create_revision if isinstance(compare, Created) else record.mod_revision
    return actual == compare.revision
