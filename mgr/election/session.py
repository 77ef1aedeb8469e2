"""The etcd lease of one manager: granting, renewal, and the deadline that follows from it."""

from __future__ import annotations

from mgr.clock import Clock
from mgr.election.timing import Timing
from mgr.errors import LeaseExpiredError
from mgr.store.api import NO_LEASE, LeaseId, Revision, Store

NEVER = float("-inf")


class LeaseSession:
    """The lease of this manager, to which its keys are attached.

    The deadline is counted from the moment *before* the renewal was sent. The store restarts the
    lease some time between sending and answer; counted from the answer, the deadline could be
    later than the expiry of the lease.
    """

    def __init__(self, store: Store, clock: Clock, timing: Timing) -> None:
        """Begin without a lease; one of ``timing.ttl_s`` seconds will be requested."""
        self.timing = timing
        self.lease: LeaseId = NO_LEASE
        self.last_answer_s = NEVER
        """When the store last answered a request of this session. Shows that the store is
        reachable, and proves nothing about the lease."""
        self.granted_leases: set[LeaseId] = set()
        """Every lease that was granted to this process."""
        self._requested_ttl_s = timing.ttl_s
        self._last_renewal_s = NEVER
        self._store = store
        self._clock = clock

    @property
    def alive(self) -> bool:
        """Whether there is a lease that is not known to have expired."""
        return self.lease != NO_LEASE

    async def open(self) -> None:
        """Acquire a lease, unless there is one.

        Raises:
            StoreUnavailableError: The outcome is unknown. A lease that was granted nevertheless
                expires by itself.

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
        """Renew the lease. Success proves nothing: an old etcd confirms a revoked lease as well.

        Raises:
            LeaseExpiredError: The lease is gone, and with it every key attached to it.
            StoreUnavailableError: The outcome is unknown; the previous deadline stays.

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
        """Whether ``key`` still exists with the create revision ``created``.

        The read is linearizable: it notices every deletion and re-creation before it.
        """
        record = await self._store.get(key, timeout_s=self.timing.request_s)
        self.last_answer_s = self._clock.now()
        return record is not None and record.create_revision == created

    async def confirm(self, key: str, created: Revision) -> float | None:
        """Renew the lease, then read ``key``.

        Returns the moment until which the key may be relied on, or None if the key is lost.

        Raises:
            LeaseExpiredError: Definitely lost.
            StoreUnavailableError: The outcome is unknown; the previous deadline stays.

        """
        await self.renew()
        deadline_s = self.deadline_s
        return deadline_s if await self.has_key(key, created) else None

    @property
    def deadline_s(self) -> float:
        """The moment until which a key on this lease may be relied on that was just read or made.

        Creating or reading a key does not renew its lease: the renewal before it counts.
        """
        return self.timing.deadline_s(self._last_renewal_s)

    def forget(self) -> None:
        """Record that the lease is gone; from now on this session holds none."""
        self.lease = NO_LEASE
        self._last_renewal_s = NEVER

    async def close(self) -> None:
        """Revoke the lease, which deletes every key attached to it."""
        if self.alive:
            lease = self.lease
            self.forget()
            await self._store.revoke(lease, timeout_s=self.timing.request_s)
