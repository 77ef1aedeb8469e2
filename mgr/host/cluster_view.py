"""The active, the standbys and the published addresses, as this worker's mirror shows them.

A view older than the lease is not used: the active it shows may be dead and replaced. Then no
active is known, and clients are asked to retry instead of being redirected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Final

from mgr.access.table import Access
from mgr.clock import Clock
from mgr.election.records import Leader, Presence, decode
from mgr.errors import NotActiveError
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror
from mgr.waiting import wait

POLL_INTERVAL_S: Final = 0.5
"""How often ``changes`` checks the view's age, which grows without any event."""


@dataclass(frozen=True, slots=True)
class LeaderView:
    """The active manager, as the leader key describes it. Clients connect to these addresses."""

    name: str
    incarnation: str
    grpc_address: str
    http_address: str
    version: str
    term: int
    since: str
    join_address: str = ""
    age_s: float = field(default=0.0, compare=False)
    """Age of the view in seconds when this was read."""


class ClusterView:
    """Answers questions about the cluster's managers. Reads the mirror, never the store.

    Attributes:
        access: Which client may do what.
        term_is_valid: Whether the active of a term may be shown. False for this manager's own
            term while it could not confirm its leadership in time.

    """

    def __init__(
        self,
        mirror: Mirror,
        keys: Keys,
        clock: Clock,
        lease_ttl_s: float,
        *,
        newest_term: int = 0,
    ) -> None:
        """Use ``mirror`` while it is younger than ``lease_ttl_s``.

        A leader key of a term before ``newest_term``, or before one seen since, is ignored.
        """
        self._newest_term = newest_term
        self._mirror = mirror
        self._keys = keys
        self._clock = clock
        self._lease_ttl_s = lease_ttl_s
        self.access: Final = Access(mirror, keys)
        # First of all that follow: whoever hears of a change finds it in force.
        self.follow_access(self.access.forget)
        self.access.forget()
        self.term_is_valid: Callable[[int], bool] = lambda _term: True

    def follow_access(self, callback: Callable[[object], None]) -> None:
        """Call ``callback`` on the loop after each change of who may do what. It must not wait."""
        keys = self._keys
        for prefix in (keys.access, keys.roles, keys.tokens, keys.protection):
            self._mirror.subscribe(prefix, callback)

    def age_s(self) -> float:
        """Return the seconds since the mirror was last confirmed to be current."""
        return self._mirror.age_s()

    def leader(self) -> LeaderView | None:
        """Return the active; None while there is none *or* the view is older than the lease.

        None as well if it is this manager and its gate is closed: a suspended active that still
        shows itself as the active keeps clients away from its successor. Terms only grow, so a
        leader key of an older term comes from a backup that etcd was restored from. It is ignored;
        it will be deleted soon.
        """
        leader = self._stored_leader()
        return leader if leader is not None and self.term_is_valid(leader.term) else None

    def _stored_leader(self) -> LeaderView | None:
        age_s = self.age_s()
        if age_s > self._lease_ttl_s:
            return None
        record = self._mirror.get(self._keys.leader)
        leader = decode(record.value, Leader) if record else None
        if record is None or leader is None or record.create_revision < self._newest_term:
            return None
        self._newest_term = record.create_revision
        return LeaderView(
            name=leader.name,
            incarnation=leader.incarnation,
            grpc_address=leader.grpc_address,
            http_address=leader.http_address,
            version=leader.version,
            term=record.create_revision,
            since=leader.since,
            join_address=leader.join_address,
            age_s=round(age_s, 3),
        )

    def presences(self) -> list[Presence]:
        """Return every live manager by name, the active included."""
        records = self._mirror.list(self._keys.managers).values()
        return [found for record in records if (found := decode(record.value, Presence))]

    def services(self) -> dict[str, str]:
        """Return the addresses that the active's modules published; empty while there is no active.

        An address of an earlier term is left out. Its lease may still exist, because a manager
        that gave up leadership still runs, but no module serves there.
        """
        # Addresses stay published while the active is suspended. Pages check ``leader`` first.
        leader = self._stored_leader()
        if leader is None:
            return {}
        prefix = self._keys.services
        return {
            key.removeprefix(prefix): record.value
            for key, record in self._mirror.list(prefix).items()
            if record.mod_revision > leader.term
        }

    async def changes(self) -> AsyncGenerator[LeaderView | None, None]:
        """Yield the active, at once and then after every change; changes in between are merged."""
        changed = asyncio.Event()
        unsubscribe = self._mirror.subscribe(self._keys.leader, lambda _: changed.set())
        try:
            last_leader = self.leader()
            yield last_leader
            while True:
                await wait(changed, POLL_INTERVAL_S)
                changed.clear()
                leader = self.leader()
                if leader != last_leader:
                    last_leader = leader
                    yield leader
        finally:
            unsubscribe()


def not_active_error(leader: LeaderView | None, own_name: str) -> NotActiveError:
    """Make the error for a caller of ``own_name``, a standby, that only the active can serve.

    It names the active if ``leader`` is another manager. If it is this manager, its previous
    worker was active a moment ago, and there is no manager to redirect to. ``leader`` is None as
    well while the view is older than the lease: the active may be dead and replaced by then.
    """
    if leader is None or leader.name == own_name:
        return NotActiveError(None)
    return redirect_error(leader)


def redirect_error(leader: LeaderView) -> NotActiveError:
    """Make the error that redirects a caller to ``leader``."""
    return NotActiveError(
        leader.grpc_address, active_name=leader.name, term=leader.term, age_s=leader.age_s
    )
