"""The leader that a client remembers between its calls, and the search that its calls share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from mgr.client.leader_search import LeaderHint, LeaderSearch
from mgr.client.peers import Peers
from mgr.client.retry import RetryBudget
from mgr.clock import Clock


class LeaderCache:
    """The managers, the last known leader, and the one search in progress.

    Attributes:
        active: The manager that answered last; None if there is none, or it failed since.
        budget: Limits repeated calls to managers that did not help before.

    """

    def __init__(self, peers: Peers, clock: Clock, *, reach_s: float) -> None:
        """Give up after ``reach_s`` without any answer from any manager."""
        self.peers = peers
        self.clock = clock
        self.reach_s = reach_s
        self.active: LeaderHint | None = None
        self.budget = RetryBudget(clock)
        self._search: LeaderSearch | None = None

    @property
    def searching(self) -> bool:
        """Whether a search is in progress."""
        return self._search is not None

    def remember(self, leader: LeaderHint) -> None:
        """Remember ``leader``, which answered."""
        self.budget.refill()
        # A slow call may return after another one has found the successor.
        if self.active is None or self.active.term <= leader.term:
            self.active = leader

    def suggest(self, leader: LeaderHint) -> None:
        """Try ``leader`` next, which another manager has named."""
        if self.peers.reachable(leader.address):
            self.peers.learn(leader.address)
            if self.active is None or self.active.term < leader.term:
                self.active = leader

    def forget(self, leader: LeaderHint) -> None:
        """Forget ``leader``, which did not answer or does not lead."""
        if self.active == leader:
            self.active = None

    def _on_lower_term(self, leader: LeaderHint) -> None:
        """Forget an active of a term that no manager names any more: etcd was restored."""
        if self.active is not None and self.active.term > leader.term:
            self.active = None

    @contextlib.asynccontextmanager
    async def search(self) -> AsyncGenerator[LeaderSearch, None]:
        """Join the search in progress, or begin one.

        A thousand calls that lose their active at once ask each manager once, not a thousand
        times. The search ends with the block of the call that began it: the other calls then get
        ``SearchOverError`` and begin another one.
        """
        if self._search is not None:
            yield self._search
            return
        async with LeaderSearch(self.peers, on_lower_term=self._on_lower_term) as search:
            self._search = search
            try:
                yield search
            finally:
                self._search = None
