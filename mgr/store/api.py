"""The store's interface, independent of etcd.

A store is a small, strongly consistent key/value store with leases and revisions. There are two
implementations: ``memory.py`` (a dictionary on a clock) and ``etcd.py``. The test suite
``tests/contract`` runs against both. The keys are in ``keys.py``.

Every method raises ``StoreUnavailableError`` if the store does not answer in time, and its subclass
``OutcomeUnknownError`` if a *write* was sent and not answered. Then it is unknown whether the write
was done: the caller must read again and not assume either. An answer from the wrong store, or from
one that was set back to an older state, is treated as no answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Final, NewType, Protocol

import msgspec

LeaseId = NewType("LeaseId", int)
Revision = NewType("Revision", int)
"""A number that grows by one with every transaction that changes something; never reused."""

NO_LEASE: Final = LeaseId(0)
ABSENT: Final = Revision(0)
"""The create revision of a key that does not exist."""

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeEncodeError, RecursionError)
"""Errors that decoding a record's value may raise. Any client of etcd may write any value."""

VALUE_BYTES_MAX: Final = 1_400_000
"""Most bytes of keys and values in one transaction. Etcd refuses requests above 1.5 MiB."""
OPERATIONS_MAX: Final = 128
"""Most operations in one transaction: etcd's default. A longer batch is refused, never split."""


@dataclass(frozen=True, slots=True)
class Record:
    """One key and its value, as stored."""

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
class Page:
    """Some records under a prefix, in key order, as they are stored; ``more`` if others follow."""

    records: tuple[Record, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Created:
    """A compare that holds if ``key`` was created at ``revision``; ``ABSENT``: if it is absent.

    Fenced writes use it on the leader key. A key that was deleted and created again has another
    create revision, so the compare holds only while the same incarnation of the key exists.
    """

    key: str
    revision: Revision


@dataclass(frozen=True, slots=True)
class Modified:
    """A compare that holds if ``key`` was last changed at exactly ``revision``."""

    key: str
    revision: Revision


Compare = Created | Modified


def as_seen(key: str, record: Record | None) -> Compare:
    """Return the compare that holds while ``key`` is unchanged since ``record`` was read."""
    return Created(key, ABSENT) if record is None else Modified(key, record.mod_revision)


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``key``; with a lease, the key is deleted when the lease ends."""

    key: str
    value: str
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete ``key``; no error if it is absent."""

    key: str


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    """Delete every key that begins with ``prefix``."""

    prefix: str


Operation = Put | Delete | DeletePrefix


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a transaction.

    Attributes:
        succeeded: Whether all compares held, so that all operations were done at ``revision``.
        revision: The store's revision when it answered.
        found: The records of ``then_get`` if it succeeded, else those of ``otherwise_get``; None
            for absent keys.

    """

    succeeded: bool
    revision: Revision
    found: tuple[Record | None, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """A granted lease. ``ttl_s`` counts; it may be longer than requested: etcd has a minimum."""

    lease: LeaseId
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Listed:
    """Feed event: the complete content of the prefix. It replaces everything known before.

    It contains every write that was acknowledged before ``asked_at_s``, on the feed's clock.
    """

    records: tuple[Record, ...]
    revision: Revision
    asked_at_s: float = field(default=float("-inf"), compare=False)


@dataclass(frozen=True, slots=True)
class Changed:
    """Feed event: all changes of one revision, or of several that arrived together, in order.

    ``deleted`` has the keys that were deleted. No key is in both ``put`` and ``deleted``.
    """

    put: tuple[Record, ...]
    deleted: tuple[str, ...]
    revision: Revision


@dataclass(frozen=True, slots=True)
class Current:
    """Feed event: the feed was complete a second ago or less; ``revision`` is its newest one."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Feed event: the feed broke. The present state is unknown until ``Current`` or ``Listed``.

    It means "unknown", never "deleted" and never "unchanged". A ``Changed`` may come earlier: it
    reports missed changes, but does not prove that there were no others.
    """

    why: str


FeedEvent = Listed | Changed | Current | Interrupted


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The version, cluster id and revision that the store reports.

    The version is empty if the store does not tell it to this user. So are the sizes, in bytes, of
    the database and of its quota then: 0. A store may tell its size and not its quota.
    """

    version: str
    cluster_id: int
    revision: Revision
    used_bytes: int = 0
    quota_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StoreMember:
    """One server of the store, as this manager sees it.

    Attributes:
        endpoint: The address that this manager uses.
        error: Why it did not answer, or why its answer is incomplete; empty if it answered.
        latency_ms: How long its answer took, in milliseconds.
        bytes: The size of its database, free pages included.
        quota_bytes: The size at which it takes no more writes; 0 if it does not say.

    """

    endpoint: str
    reachable: bool
    error: str = ""
    name: str = ""
    version: str = ""
    leader: bool = False
    latency_ms: float = 0.0
    bytes: int = 0
    quota_bytes: int = 0


class Store(Protocol):
    """A store; see the module's docstring. All methods run on one event loop."""

    async def get(self, key: str, *, timeout_s: float | None = None) -> Record | None:
        """Read ``key`` linearizably: the result includes every write acknowledged before."""
        ...

    async def list(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """Read every key that begins with ``prefix``, linearizably, at one revision."""
        ...

    async def page(
        self,
        prefix: str,
        *,
        after: str = "",
        at: Revision = ABSENT,
        chars_max: int,
        timeout_s: float | None = None,
    ) -> Page:
        """Read keys under ``prefix`` behind ``after`` as they were at revision ``at``.

        At the present one if that is ``ABSENT``. At least one record is returned, if there is one,
        and no more than have ``chars_max`` characters together. Sealed values stay sealed.

        Raises:
            ConflictError: That revision was compacted, or does not exist yet.

        """
        ...

    async def commit(
        self,
        operations: Sequence[Operation],
        *,
        when: Sequence[Compare] = (),
        then_get: Sequence[str] = (),
        otherwise_get: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Outcome:
        """Do all ``operations`` in one transaction if every compare in ``when`` holds.

        The same transaction then reads the keys ``then_get``, or instead ``otherwise_get``.

        Raises:
            OutcomeUnknownError: The transaction was sent and not answered.
            TooLargeError: It is above ``VALUE_BYTES_MAX`` or ``OPERATIONS_MAX``; nothing was sent.
            InvalidKeyError: A key is empty, has a NUL or cannot be UTF-8; nothing was sent.
            LeaseExpiredError: A ``Put`` names an expired lease; nothing was done.

        """
        ...

    async def create(
        self, key: str, value: str, *, lease: LeaseId, timeout_s: float | None = None
    ) -> Revision | None:
        """Create ``key``; return its create revision, or None if another lease holds it.

        Called again with the same lease it returns the same result, so the caller simply repeats
        a call whose answer was lost. (Otherwise a candidate that won, and lost the answer, would
        keep the key without leading, and block all others.)
        """
        ...

    async def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> LeaseGrant:
        """Make a lease of at least ``ttl_s`` whole seconds."""
        ...

    async def renew(self, lease: LeaseId, *, timeout_s: float | None = None) -> float:
        """Renew the lease for its full length; return that length in seconds.

        Success proves only that the lease *was* alive: old etcd releases report it for a revoked
        lease too. It is never a proof of leadership.

        Raises:
            LeaseExpiredError: The lease has expired or was revoked.

        """
        ...

    async def revoke(self, lease: LeaseId, *, timeout_s: float | None = None) -> None:
        """End the lease and delete its keys; no error if it has ended already."""
        ...

    def follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        """List ``prefix``, then report every change without end.

        The feed survives reconnects, lost endpoints and compaction; it does not end by itself
        (close it with ``aclose``). The first event is ``Listed``, or ``Interrupted`` until the
        store answers. Every committed change is reported exactly once, except that one ``Listed``
        may replace many. ``Current`` comes about once a second, with or without changes; three
        seconds without a message from the store are reported as ``Interrupted``.
        """
        ...

    async def status(self, *, timeout_s: float | None = None) -> StoreStatus:
        """Return the store's version, cluster id and revision."""
        ...

    async def members(self, *, timeout_s: float) -> Sequence[StoreMember]:
        """Ask every server for its state; one that does not answer in time is listed as such."""
        ...

    async def close(self) -> None:
        """Close all connections; feeds end."""
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
