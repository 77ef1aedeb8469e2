"""The node lease of one manager, renewed, with its honest deadline."""

from __future__ import annotations

from mgr.clock import Clock
from mgr.election.timing import Timing
from mgr.errors import LeaseExpiredError
from mgr.store.api import NO_LEASE, LeaseId, Revision, Store

NEVER = float("-inf")


class LeaseSession:
    """What this manager holds in the store by time.

    The deadline is counted from *before* the request that proved it was sent. The store starts
    the lease anew some time between sending and answer; counting from the answer this manager
    would believe in a lease that has already run out.
    """

    def __init__(self, store: Store, clock: Clock, timing: Timing) -> None:
        """Begin without a lease; ``timing`` says how long one to ask for."""
        self.timing = timing
        self.lease: LeaseId = NO_LEASE
        self.last_answer_s = NEVER
        """When the store last answered anything here: news of its health, not a proof."""
        self.granted_leases: set[LeaseId] = set()
        """Every lease that this very process was given."""
        self._requested_ttl_s = timing.ttl_s
        self._last_renewal_s = NEVER
        self._store = store
        self._clock = clock

    @property
    def alive(self) -> bool:
        """Whether there is a lease that is not known to be gone."""
        return self.lease != NO_LEASE

    async def open(self) -> None:
        """Take a lease, unless there is one.

        Raises:
            StoreUnavailableError: None is known to be taken; one that was runs out by itself.

        """
        if self.alive:
            return
        sent_s = self._clock.now()
        grant = await self._store.grant(
            round(self._requested_ttl_s), timeout_s=self.timing.request_s * 2
        )
        self.timing = self.timing.with_ttl(grant.ttl_s)
        self.lease = grant.lease
        self.granted_leases.add(grant.lease)
        self._last_renewal_s = sent_s
        self.last_answer_s = self._clock.now()

    async def renew(self) -> None:
        """Start the lease anew. Proves nothing: an old store answers it for a revoked lease.

        Raises:
            LeaseExpiredError: The lease is gone, and with it every key that hung on it.
            StoreUnavailableError: Unknown; the deadline does the work.

        """
        sent_s = self._clock.now()
        try:
            await self._store.renew(self.lease, timeout_s=self.timing.request_s)
        except LeaseExpiredError:
            self.forget()
            raise
        self._last_renewal_s = sent_s
        self.last_answer_s = self._clock.now()

    async def has_key(self, key: str, created: Revision) -> bool:
        """Whether the very incarnation of ``key`` that was made at ``created`` is still there.

        Linearizable: whoever made it anew, or whatever took it away, is seen.
        """
        record = await self._store.get(key, timeout_s=self.timing.request_s)
        self.last_answer_s = self._clock.now()
        return record is not None and record.create_revision == created

    async def confirm(self, key: str, created: Revision) -> float | None:
        """Renew, then look at ``key``: until when it may be relied on, or None if it is lost.

        Raises:
            LeaseExpiredError: Definitely lost.
            StoreUnavailableError: Unknown; the deadline before stands.

        """
        await self.renew()
        deadline_s = self.deadline_s
        return deadline_s if await self.has_key(key, created) else None

    @property
    def deadline_s(self) -> float:
        """Until when a key may be relied on that was just made, or just seen, on this lease.

        Making or seeing a key does not renew its lease: the renewal before it is what counts.
        """
        return self.timing.deadline_s(self._last_renewal_s)

    def forget(self) -> None:
        """The lease is gone: hold nothing from now on."""
        self.lease = NO_LEASE
        self._last_renewal_s = NEVER

    async def close(self) -> None:
        """Give the lease back, and with it every key that hangs on it."""
        if self.alive:
            lease = self.lease
            self.forget()
            await self._store.revoke(lease, timeout_s=self.timing.request_s)
