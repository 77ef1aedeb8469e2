"""What a client remembers between its calls, and what calls that look for the active share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from mgr.client.leader_search import LeaderHint, LeaderSearch
from mgr.client.peers import Peers
from mgr.client.retry import RetryBudget
from mgr.clock import Clock


class LeaderCache:
    """The managers, who led last, and the one search that is under way.

    Attributes:
        active: Who answered last; None if nobody has, or whoever did is no help any more.
        budget: For asking again where asking was of no use.

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
        """Whether a search is under way."""
        return self._search is not None

    def remember(self, leader: LeaderHint) -> None:
        """``leader`` leads: it answered."""
        self.budget.refill()
        # A call that was long under way may come back after another one has found the successor.
        if self.active is None or self.active.term <= leader.term:
            self.active = leader

    def forget(self, leader: LeaderHint) -> None:
        """``leader`` did not answer, or does not lead."""
        if self.active == leader:
            self.active = None

    def _on_lower_term(self, leader: LeaderHint) -> None:
        """Forget an active of a term that no manager names any more: etcd was restored."""
        if self.active is not None and self.active.term > leader.term:
            self.active = None

    @contextlib.asynccontextmanager
    async def search(self) -> AsyncGenerator[LeaderSearch, None]:
        """Look for the active together with whoever looks for it already.

        A thousand calls that lose their active at once ask each manager once, not a thousand
        times. The search is over when the call that began it needs it no more: then
        ``SearchOverError`` comes out of it for the others, who look anew.
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
