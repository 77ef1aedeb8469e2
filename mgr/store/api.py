"""What every store promises, in words that do not mention etcd.

A store is a small, strongly consistent key/value store with leases and revisions. Two keep
these promises: ``memory.py`` (a dictionary on a clock) and ``etcd.py``; one suite,
``tests/contract``, holds both to them.

Every method raises ``StoreUnavailableError`` when the store does not answer in time, and its
subclass ``OutcomeUnknownError`` when a *write* was sent and no answer came. Then nobody knows
whether the work was done: the caller reads again, it does not assume. An answer from another
store than the one that is meant, or from one that was set back to an older state, is no answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Final, NewType, Protocol

import msgspec

LeaseId = NewType("LeaseId", int)
Revision = NewType("Revision", int)
"""Grows by one with every committed transaction that changes something; never repeats."""

NO_LEASE: Final = LeaseId(0)
ABSENT: Final = Revision(0)
"""The create revision of a key that does not exist."""

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeEncodeError, RecursionError)
"""What decoding a record's value may raise. Anybody who reaches the store may write anything."""

VALUE_BYTES_MAX: Final = 1_400_000
"""One transaction's keys and values. Etcd refuses requests above 1.5 MiB."""
OPERATIONS_MAX: Final = 128
"""Operations in one transaction. Etcd's default; a longer batch is refused, never split."""


@dataclass(frozen=True, slots=True)
class Record:
    """One key as the store holds it."""

    key: str
    value: str
    create_revision: Revision
    mod_revision: Revision
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Listing:
    """Every key under a prefix, in key order, at one revision."""

    records: tuple[Record, ...]
    revision: Revision


@dataclass(frozen=True, slots=True)
class Created:
    """Compare: ``key`` was created at exactly ``revision``; ``ABSENT``: it does not exist.

    This is the guard. A key that was deleted and made again has another create revision, so
    whoever proves it proves that the very same incarnation of the key is still there.
    """

    key: str
    revision: Revision


@dataclass(frozen=True, slots=True)
class Modified:
    """Compare: ``key`` was last changed at exactly ``revision``."""

    key: str
    revision: Revision


Compare = Created | Modified


def as_seen(key: str, record: Record | None) -> Compare:
    """The comparison that holds while ``key`` is as it was read."""
    return Created(key, ABSENT) if record is None else Modified(key, record.mod_revision)


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``key``; with a lease, the key ends with it."""

    key: str
    value: str
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove ``key``; no error where it is absent."""

    key: str


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    """Remove every key that begins with ``prefix``."""

    prefix: str


Operation = Put | Delete | DeletePrefix


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transaction.

    Attributes:
        succeeded: All compares held and all operations were done, at ``revision``.
        revision: The store's revision at the answer.
        found: If it did not succeed, the keys asked for by ``otherwise_get``, None if absent.

    """

    succeeded: bool
    revision: Revision
    found: tuple[Record | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease as granted. ``ttl_s`` may be longer than asked: etcd has a floor. Use this one."""

    lease: LeaseId
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A feed's fresh start: the whole prefix. What was known before is replaced by it.

    Every write that was acknowledged before ``asked_at_s``, on the feed's clock, is in it.
    """

    records: tuple[Record, ...]
    revision: Revision
    asked_at_s: float = field(default=float("-inf"), compare=False)


@dataclass(frozen=True, slots=True)
class Changed:
    """All changes of one revision, or of several that came together, in order.

    A deleted key comes with the value None in ``deleted``; ``put`` and ``deleted`` never name
    the same key.
    """

    put: tuple[Record, ...]
    deleted: tuple[str, ...]
    revision: Revision


@dataclass(frozen=True, slots=True)
class Current:
    """The feed was complete at most a second ago; ``revision`` is the newest it has told of."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The feed broke; what is true now is unknown until ``Current`` or ``Listed`` comes again.

    It means "unknown", never "deleted" and never "unchanged". ``Changed`` may come before: it
    is what was missed, and does not prove that nothing else was.
    """

    why: str


FeedEvent = Listed | Changed | Current | Interrupted


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What the store says of itself."""

    version: str
    cluster_id: int
    revision: Revision


class Store(Protocol):
    """See the module's docstring. All methods run on one event loop."""

    async def get(self, key: str, *, timeout_s: float | None = None) -> Record | None:
        """Read ``key``, linearizably: every write acknowledged before is seen."""
        ...

    async def list(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """Read every key that begins with ``prefix``, linearizably, at one revision."""
        ...

    async def commit(
        self,
        operations: Sequence[Operation],
        *,
        when: Sequence[Compare] = (),
        otherwise_get: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Outcome:
        """Do all ``operations`` in one transaction if every compare in ``when`` holds.

        Raises:
            OutcomeUnknownError: It was sent and no answer came.
            TooLargeError: Above ``VALUE_BYTES_MAX`` or ``OPERATIONS_MAX``; nothing was sent.
            InvalidKeyError: A key is empty, holds a NUL or cannot be UTF-8; nothing was sent.
            LeaseExpiredError: A ``Put`` names a lease that is gone; nothing was done.

        """
        ...

    async def create(
        self, key: str, value: str, *, lease: LeaseId, timeout_s: float | None = None
    ) -> Revision | None:
        """Write ``key`` unless another lease holds it; its create revision, or None.

        Asked again with the same lease it gives the same answer: a lost answer is asked for a
        second time, not guessed. (Without this, a winner that never heard of it would block
        everyone for good.)
        """
        ...

    async def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> Grant:
        """Make a lease of at least ``ttl_s`` whole seconds."""
        ...

    async def renew(self, lease: LeaseId, *, timeout_s: float | None = None) -> float:
        """Start the lease's life anew; its length in seconds.

        A success proves only that the lease *was* alive: old etcd releases answer it for a
        revoked lease. Never a proof of leadership.

        Raises:
            LeaseExpiredError: The lease is gone.

        """
        ...

    async def revoke(self, lease: LeaseId, *, timeout_s: float | None = None) -> None:
        """End the lease and delete its keys; no error where it is gone already."""
        ...

    def follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        """List ``prefix``, then report every change, for ever.

        Survives reconnects, lost endpoints and compaction; never ends by itself (close it with
        ``aclose``). The first event is ``Listed``, or ``Interrupted`` until the store answers. No
        committed change is left out, none comes twice, except that ``Listed`` may stand for
        many. ``Current`` comes about once a second, whether anything changes or not; a silence
        of three seconds is reported as ``Interrupted``.
        """
        ...

    async def status(self, *, timeout_s: float | None = None) -> StoreStatus:
        """Ask what the store is."""
        ...

    async def close(self) -> None:
        """Let go of connections. Feeds end."""
        ...


class Reader(Protocol):
    """Reads the in-memory copy of the store: ``Mirror``, or whatever stands for it in a test."""

    def get(self, key: str) -> Record | None:
        """Return the record of ``key`` as last seen, None if it is absent."""
        ...

    def list(self, prefix: str) -> dict[str, Record]:
        """Return every record whose key begins with ``prefix``, in key order."""
        ...

    def age_s(self) -> float:
        """Return the seconds since the copy was last proven current."""
        ...


class FencedWriter(Protocol):
    """Writes that are refused once the term is over: ``FencedStore``, which says what is raised."""

    @property
    def term(self) -> Revision:
        """The term: the create revision of the leader key."""
        ...

    async def put(self, key: str, value: str, lease: LeaseId = NO_LEASE) -> Revision:
        """Write one key."""
        ...

    async def delete(self, key: str) -> Revision:
        """Remove one key."""
        ...

    async def commit(
        self,
        operations: Sequence[Operation],
        when: Sequence[Compare] = (),
        *,
        timeout_s: float | None = None,
    ) -> Revision:
        """Do all ``operations`` in one transaction if every compare in ``when`` holds."""
        ...

    async def read_settled(
        self,
        keys: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Record]:
        """Return the records that no earlier write of this term can change any more."""
        ...

    async def catch_up(self, when: Sequence[Compare], *, timeout_s: float) -> None:
        """Wait until the mirror shows the changes because of which ``when`` did not hold."""
        ...
