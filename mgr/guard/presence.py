"""The records of this manager in etcd: its presence key, kept up to date, and its leader record."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from mgr.clock import timestamp
from mgr.election.machine import LEADING, WAITING, Event, Phase
from mgr.election.records import Leader, Presence, decode, encode
from mgr.election.session import LeaseSession
from mgr.errors import LeaseExpiredError, NameTakenError, OutcomeUnknownError, StoreError
from mgr.guard.state import GuardContext, OnEvent, State
from mgr.guard.worker_supervisor import WorkerSupervisor
from mgr.link import Ready
from mgr.shared_settings import shared_settings
from mgr.store.api import ABSENT, NO_LEASE, Created, Delete, Modified, Put, Record, Revision

POLL_EVERY_S: Final = 0.25
WAIT_BEYOND_LEASE_S: Final = 1.0
"""etcd ends an old lease up to half a second late. A name that is still taken after this wait
belongs to a live manager."""
RETRY_S: Final = 0.1
"""Pause after a write of the presence that failed."""
SETTLING: Final = frozenset({Phase.STARTING, Phase.ACTIVE})
UPDATE_AFTER_S: Final = 0.1
"""How long an active collects changes before its presence is written again."""
MAY_LEAD: Final = (WAITING | LEADING) - {Phase.INELIGIBLE}
"""Phases in which a manager with a ready worker is a warm standby, or the active."""
_NOT_READY: Final = Ready(grpc_address="", http_address="")


class PresenceKey:
    """The key ``managers/<name>``, attached to this manager's lease."""

    def __init__(self, context: GuardContext, session: LeaseSession) -> None:
        """Use the lease of ``session``. Nothing is claimed yet."""
        self.key = context.keys.manager(context.name)
        self.create_revision: Revision = ABSENT
        """The create revision of the claimed key; ``ABSENT`` while it is not claimed."""
        self._context = context
        self._session = session

    async def claim(self, presence: Presence) -> None:
        """Claim the name, or check that it is claimed. Waits for the lease of an unknown holder.

        Raises:
            NameTakenError: Another live manager has this name; the message says which.
            LeaseExpiredError: The session's lease is gone.
            StoreUnavailableError: The outcome is unknown; call again.

        """
        context, timing = self._context, self._session.timing
        # Not claimed until the key is read: nothing to confirm by renewals before.
        self.create_revision = ABSENT
        give_up_s = context.clock.now() + timing.ttl_s + WAIT_BEYOND_LEASE_S
        while True:
            holder = await context.store.get(self.key, timeout_s=timing.request_s)
            if holder is None:
                await self._create(presence)
                continue
            if holder.lease == NO_LEASE:
                # Written by hand: managers write this key with a lease only. It would exist for
                # ever, and there is no lease to revoke.
                await self._remove(holder)
                continue
            if holder.lease == self._session.lease:
                self.create_revision = holder.create_revision
                return
            other = decode(holder.value, Presence)
            # A copy of this process, resumed from the same snapshot, has the same identity: only
            # the lease shows that the key is this process's own.
            ours = holder.lease in self._session.granted_leases
            me = context.me
            if other and me.outlived(other) and (ours or not me.same_process(other)):
                # Revoking deletes everything on that lease, the leader key included.
                await context.store.revoke(holder.lease, timeout_s=timing.request_s)
                continue
            if context.clock.now() >= give_up_s:
                raise NameTakenError(self._describe_holder(holder, other))
            await asyncio.sleep(POLL_EVERY_S)

    async def update(self, presence: Presence) -> bool:
        """Write ``presence``; return False if the claim is lost, and with it the name.

        Raises:
            LeaseExpiredError: The session's lease is gone.
            StoreUnavailableError: The outcome is unknown; call again.

        """
        return await self._put(presence, self.create_revision)

    async def _create(self, presence: Presence) -> None:
        # An unknown outcome is fine: the key is read next in any case.
        with contextlib.suppress(OutcomeUnknownError):
            await self._put(presence, ABSENT)

    async def _remove(self, holder: Record) -> None:
        with contextlib.suppress(OutcomeUnknownError):
            await self._context.store.commit(
                [Delete(self.key)],
                when=[Modified(self.key, holder.mod_revision)],
                timeout_s=self._session.timing.request_s,
            )

    async def _put(self, presence: Presence, created: Revision) -> bool:
        if not self._session.alive:
            # Without a lease the key would exist for ever.
            raise LeaseExpiredError(f"put {self.key!r}: this manager holds no lease")
        outcome = await self._context.store.commit(
            [Put(self.key, encode(presence), self._session.lease)],
            when=[Created(self.key, created)],
            timeout_s=self._session.timing.request_s,
        )
        return outcome.succeeded

    def _describe_holder(self, holder: Record, other: Presence | None) -> str:
        who = "a manager whose record is unreadable"
        if other is not None:
            who = f"process {other.pid} on host {other.host} since {other.started_at}"
        return (
            f"manager {self._context.name!r} is running already: {who} holds {holder.key}. "
            "Give this one another --id"
        )


class RecordBuilder:
    """Builds this manager's records from the present state."""

    def __init__(
        self,
        context: GuardContext,
        state: State,
        session: LeaseSession,
        supervisor: WorkerSupervisor,
    ) -> None:
        self._context = context
        self._state = state
        self._session = session
        self._supervisor = supervisor

    def presence(self) -> Presence:
        """Build the value of this manager's presence key."""
        me, ready = self._context.me, self._supervisor.ready or _NOT_READY
        # An ineligible manager is no standby: nobody shall name it as a successor.
        may_lead = self._state.phase in MAY_LEAD
        return Presence(
            name=self._context.name,
            incarnation=self._incarnation,
            host=me.host,
            boot_id=me.boot_id,
            pid_namespace=me.pid_namespace,
            pid=me.pid,
            pid_started=me.pid_started,
            grpc_address=ready.grpc_address,
            http_address=ready.http_address,
            version=me.version,
            modules=ready.modules,
            warm=may_lead
            and self._supervisor.ready is not None
            and self._supervisor.health.current,
            started_at=me.started_at,
            audit_trouble=self._supervisor.audit_trouble,
            host_metadata=dict(me.machine),
            certificates=ready.certificates,
            signs=ready.signs,
            unprotected=self._context.settings.unprotected_listeners,
            settings=shared_settings(self._context.settings),
        )

    def leader(self) -> str:
        """Build the value with which this manager would acquire the leader key now."""
        ready = self._supervisor.ready or _NOT_READY
        heartbeat_profile = self._context.heartbeat_profile
        return encode(
            Leader(
                name=self._context.name,
                incarnation=self._incarnation,
                grpc_address=ready.grpc_address,
                http_address=ready.http_address,
                version=self._context.me.version,
                since=timestamp(),
                lease_ttl_s=self._session.timing.ttl_s,
                heartbeat_timeout_s=heartbeat_profile.timeout_s
                if heartbeat_profile is not None
                else 0.0,
                join_address=ready.join_address,
            )
        )

    @property
    def _incarnation(self) -> str:
        return self._supervisor.worker.incarnation if self._supervisor.worker is not None else ""


class PresenceUpdater:
    """Writes the presence key whenever its value has changed."""

    def __init__(
        self, records: RecordBuilder, presence_key: PresenceKey, state: State, on_event: OnEvent
    ) -> None:
        self.stale = asyncio.Event()
        """Set it when the presence may have changed."""
        self._records = records
        self._presence_key = presence_key
        self._state = state
        self._on_event = on_event

    async def run(self) -> None:
        """Keep the presence key up to date; never returns."""
        written: tuple[Revision, Presence] | None = None
        while True:
            self.stale.clear()
            wanted = (self._presence_key.create_revision, self._records.presence())
            if self._presence_key.create_revision and wanted != written:
                try:
                    written = wanted
                    await self._update(wanted[1])
                except StoreError:
                    written = None
                    await asyncio.sleep(RETRY_S)
                    continue
            await self.stale.wait()
            if self._state.phase in SETTLING:
                # Every manager reads each version: after a takeover one of two is enough, and it
                # comes after the commands that waited. A worker that leaves is reported at once.
                await asyncio.sleep(UPDATE_AFTER_S)

    async def _update(self, presence: Presence) -> None:
        # Only before leadership does a lost presence key end the phase. While leading, the leader
        # key decides, and the presence key is claimed again after the term.
        if not await self._presence_key.update(presence) and self._state.phase in WAITING:
            self._on_event(Event.LOST)
