"""This manager's place in the cluster: its name, claimed once and kept up to date."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from mgr.election.records import Presence, decode, encode
from mgr.election.session import Session
from mgr.errors import LeaseExpiredError, NameTakenError, OutcomeUnknownError
from mgr.guard.state import Given
from mgr.store.api import ABSENT, NO_LEASE, Created, Delete, Modified, Put, Record, Revision

LOOK_EVERY_S: Final = 0.25
PATIENCE_BEYOND_LEASE_S: Final = 1.0
"""An old lease ends up to half a second after its time; then the name is free or alive."""


class Place:
    """The key ``managers/<name>``, held by this manager's lease."""

    def __init__(self, given: Given, session: Session) -> None:
        """Stand there on the lease of ``session``."""
        self.key = given.keys.manager(given.name)
        self.created: Revision = ABSENT
        """The claim: the key's create revision. ``ABSENT`` while there is none."""
        self._given = given
        self._session = session

    async def claim(self, presence: Presence) -> None:
        """Take the name, or see that it is ours. Waits out the lease of a holder unheard of.

        Raises:
            NameTakenError: Another live manager has it; the message says which.
            LeaseExpiredError: The session's lease is gone.
            StoreUnavailableError: Nothing is known; ask again.

        """
        given, timing = self._given, self._session.timing
        # Until it is seen there is nothing to be proven.
        self.created = ABSENT
        give_up_s = given.clock.now() + timing.ttl_s + PATIENCE_BEYOND_LEASE_S
        while True:
            holder = await given.store.get(self.key, timeout_s=timing.request_s)
            if holder is None:
                await self._create(presence)
                continue
            if holder.lease == NO_LEASE:
                # A hand in the store: managers write it with a lease only. It would stand for
                # ever, and no lease can be revoked to end it.
                await self._remove(holder)
                continue
            if holder.lease == self._session.lease:
                self.created = holder.create_revision
                return
            other = decode(holder.value, Presence)
            # A copy of this process, resumed from the same snapshot, has its id as well.
            ours = holder.lease in self._session.granted
            me = given.me
            if other and me.outlived(other) and (ours or not me.same_process(other)):
                # With its lease goes whatever else it held, the leader key included.
                await given.store.revoke(holder.lease, timeout_s=timing.request_s)
                continue
            if given.clock.now() >= give_up_s:
                raise NameTakenError(self._who(holder, other))
            await asyncio.sleep(LOOK_EVERY_S)

    async def update(self, presence: Presence) -> bool:
        """Write what is new; False if the claim is lost, and with it the name.

        Raises:
            LeaseExpiredError: The session's lease is gone.
            StoreUnavailableError: Nothing is known; ask again.

        """
        return await self._put(presence, self.created)

    async def _create(self, presence: Presence) -> None:
        # Whether it was done is read afterwards, whatever the answer.
        with contextlib.suppress(OutcomeUnknownError):
            await self._put(presence, ABSENT)

    async def _remove(self, holder: Record) -> None:
        with contextlib.suppress(OutcomeUnknownError):
            await self._given.store.commit(
                [Delete(self.key)],
                when=[Modified(self.key, holder.mod_revision)],
                timeout_s=self._session.timing.request_s,
            )

    async def _put(self, presence: Presence, created: Revision) -> bool:
        if not self._session.alive:
            # Without a lease the key would stand for ever.
            raise LeaseExpiredError(f"put {self.key!r}: this manager holds no lease")
        outcome = await self._given.store.commit(
            [Put(self.key, encode(presence), self._session.lease)],
            when=[Created(self.key, created)],
            timeout_s=self._session.timing.request_s,
        )
        return outcome.succeeded

    def _who(self, holder: Record, other: Presence | None) -> str:
        who = "a manager that cannot be read"
        if other is not None:
            who = f"process {other.pid} on host {other.host} since {other.started_at}"
        return (
            f"manager {self._given.name!r} is running already: {who} holds {holder.key}. "
            "Give this one another --id"
        )
