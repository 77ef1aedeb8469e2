"""Who leads, who waits, and what is published: the cluster as this worker's mirror shows it.

A view older than the lease is no view: the active it names may be dead and replaced. Then the
answer is "nobody", and clients are told to retry, never to follow a guess.
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
"""How often ``changes`` looks at the view's age, which changes without any news."""


@dataclass(frozen=True, slots=True)
class LeaderView:
    """The active manager. Addresses are as clients reach them."""

    name: str
    incarnation: str
    grpc_address: str
    http_address: str
    version: str
    term: int
    since: str
    age_s: float = field(default=0.0, compare=False)
    """How old the picture is that shows it."""


class ClusterView:
    """What a manager knows of the others. Reads the mirror; never asks the store.

    Attributes:
        access: Which client may do what.
        term_is_valid: Whether this manager may be named as the active of a term: False while it
            leads in that term and could not prove so in time.

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
        """Believe the mirror while it is younger than ``lease_ttl_s``.

        A leader key of a term before ``newest_term``, or before one shown since, is not believed.
        """
        self._newest_term = newest_term
        self._mirror = mirror
        self._keys = keys
        self._clock = clock
        self._lease_ttl_s = lease_ttl_s
        self.access: Final = Access(mirror, keys)
        self.term_is_valid: Callable[[int], bool] = lambda _term: True

    def age_s(self) -> float:
        """How old the picture is: seconds since the mirror was last proven current."""
        return self._mirror.age_s()

    def leader(self) -> LeaderView | None:
        """The active; None while nobody leads *or* the view is older than the lease.

        None as well while it would be this manager, and its gate is shut: a suspended active that
        goes on naming itself keeps clients away from its successor. And terms only grow: the
        leader key of an older one comes from a copy that etcd was restored from, and is about to
        go.
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
            age_s=round(age_s, 3),
        )

    def presences(self) -> list[Presence]:
        """Every manager that is alive, the active included, by name."""
        records = self._mirror.list(self._keys.managers).values()
        return [found for record in records if (found := decode(record.value, Presence))]

    def services(self) -> dict[str, str]:
        """Addresses that the active's modules published; empty while nobody leads.

        An address of an earlier term is left out: its lease may live on, since a manager that
        gave up the office is still there, but nobody answers under it.
        """
        # A suspension takes no page back: whoever answers asks ``leader`` before.
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
        """Say who leads, at once and then at every change; changes that meet are merged."""
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
    """The error of manager ``own_name`` for a caller that only the active can serve.

    It names the active if one is known and it is another manager. Its own name means that its
    last worker led a moment ago: no way to send anybody.
    """
    if leader is None or leader.name == own_name:
        return NotActiveError(None)
    return redirect_error(leader)


def redirect_error(leader: LeaderView) -> NotActiveError:
    """The error that sends a caller to ``leader``."""
    return NotActiveError(
        leader.grpc_address, active_name=leader.name, term=leader.term, age_s=leader.age_s
    )
