"""What this manager shows of itself: its presence, and its name in the leader key."""

from __future__ import annotations

import asyncio
from typing import Final

from mgr.clock import timestamp
from mgr.election.machine import LEADING, WAITING, Event
from mgr.election.records import Leader, Presence, encode
from mgr.election.session import LeaseSession
from mgr.errors import StoreError
from mgr.guard.presence import PresenceKey
from mgr.guard.state import GuardContext, OnEvent, State
from mgr.guard.worker_supervisor import WorkerSupervisor
from mgr.link import Ready
from mgr.store.api import Revision

RETRY_S: Final = 0.1
_NOT_READY: Final = Ready(grpc_address="", http_address="")


class RecordBuilder:
    """Made from what is true now, whenever they are asked for."""

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
        """Return the value of this manager's presence key."""
        me, ready = self._context.me, self._supervisor.ready or _NOT_READY
        may_lead = self._state.phase in WAITING | LEADING
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
            host_metadata=dict(me.machine),
        )

    def leader(self) -> str:
        """Return the value of the leader key, should it become ours now."""
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
            )
        )

    @property
    def _incarnation(self) -> str:
        return self._supervisor.worker.incarnation if self._supervisor.worker is not None else ""


class PresenceUpdater:
    """Keeps the presence in the store as it should be. Nothing waits for it."""

    def __init__(
        self, records: RecordBuilder, presence_key: PresenceKey, state: State, on_event: OnEvent
    ) -> None:
        self.stale = asyncio.Event()
        """Set it when something of the presence may have changed."""
        self._records = records
        self._presence_key = presence_key
        self._state = state
        self._on_event = on_event

    async def run(self) -> None:
        """Write the presence whenever it is not as it should be; for ever."""
        shown: tuple[Revision, Presence] | None = None
        while True:
            self.stale.clear()
            wanted = (self._presence_key.create_revision, self._records.presence())
            if self._presence_key.create_revision and wanted != shown:
                try:
                    shown = wanted
                    await self._update(wanted[1])
                except StoreError:
                    shown = None
                    await asyncio.sleep(RETRY_S)
                    continue
            await self.stale.wait()

    async def _update(self, presence: Presence) -> None:
        # Lost while leading: the office decides, not the board; it is put up again afterwards.
        if not await self._presence_key.update(presence) and self._state.phase in WAITING:
            self._on_event(Event.LOST)
