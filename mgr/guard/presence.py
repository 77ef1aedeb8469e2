"""This manager's place in the cluster: its name, claimed once and kept up to date."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from mgr.election.records import Presence, decode, encode
from mgr.election.session import LeaseSession
from mgr.errors import LeaseExpiredError, NameTakenError, OutcomeUnknownError
from mgr.guard.state import GuardContext
from mgr.store.api import ABSENT, NO_LEASE, Created, Delete, Modified, Put, Record, Revision

POLL_EVERY_S: Final = 0.25
WAIT_BEYOND_LEASE_S: Final = 1.0
"""An old lease ends up to half a second after its time; then the name is free or alive."""


class PresenceKey:
    """The key ``managers/<name>``, held by this manager's lease."""

    def __init__(self, context: GuardContext, session: LeaseSession) -> None:
        """Stand there on the lease of ``session``."""
        self.key = context.keys.manager(context.name)
        self.create_revision: Revision = ABSENT
        """The claim: the key's create revision. ``ABSENT`` while there is none."""
        self._context = context
        self._session = session

    async def claim(self, presence: Presence) -> None:
        """Take the name, or see that it is ours. Waits out the lease of a holder unheard of.

        Raises:
            NameTakenError: Another live manager has it; the message says which.
            LeaseExpiredError: The session's lease is gone.
            StoreUnavailableError: Nothing is known; ask again.

        """
        context, timing = self._context, self._session.timing
        # Until it is seen there is nothing to be proven.
        self.create_revision = ABSENT
        give_up_s = context.clock.now() + timing.ttl_s + WAIT_BEYOND_LEASE_S
        while True:
            holder = await context.store.get(self.key, timeout_s=timing.request_s)
            if holder is None:
                await self._create(presence)
                continue
            if holder.lease == NO_LEASE:
                # A hand in the store: managers write it with a lease only. It would stand for
                # ever, and no lease can be revoked to end it.
                await self._remove(holder)
                continue
            if holder.lease == self._session.lease:
                self.create_revision = holder.create_revision
                return
            other = decode(holder.value, Presence)
            # A copy of this process, resumed from the same snapshot, has its id as well.
            ours = holder.lease in self._session.granted_leases
            me = context.me
            if other and me.outlived(other) and (ours or not me.same_process(other)):
                # With its lease goes whatever else it held, the leader key included.
                await context.store.revoke(holder.lease, timeout_s=timing.request_s)
                continue
            if context.clock.now() >= give_up_s:
                raise NameTakenError(self._describe_holder(holder, other))
            await asyncio.sleep(POLL_EVERY_S)

    async def update(self, presence: Presence) -> bool:
        """Write what is new; False if the claim is lost, and with it the name.

        Raises:
            LeaseExpiredError: The session's lease is gone.
            StoreUnavailableError: Nothing is known; ask again.

        """
        return await self._put(presence, self.create_revision)

    async def _create(self, presence: Presence) -> None:
        # Whether it was done is read afterwards, whatever the answer.
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
            # Without a lease the key would stand for ever.
            raise LeaseExpiredError(f"put {self.key!r}: this manager holds no lease")
        outcome = await self._context.store.commit(
            [Put(self.key, encode(presence), self._session.lease)],
            when=[Created(self.key, created)],
            timeout_s=self._session.timing.request_s,
        )
        return outcome.succeeded

    def _describe_holder(self, holder: Record, other: Presence | None) -> str:
        who = "a manager that cannot be read"
        if other is not None:
            who = f"process {other.pid} on host {other.host} since {other.started_at}"
        return (
            f"manager {self._context.name!r} is running already: {who} holds {holder.key}. "
            "Give this one another --id"
        )
