"""Who leads? Asks every manager at once and hears of each change as it happens.

Each manager keeps a stream open for as long as the search lasts, so a switch is known one
message after it happened, also when the old active is frozen and says nothing. The highest
term wins: terms grow for ever, and a manager that is cut off can only know older ones. Only where
no manager names the highest term any more and some name a lower one, that one counts: etcd was
restored from a backup, or replaced, and a client that waited for higher terms would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

import grpc
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter
from tenacity.wait import wait_base

from mgr.client.peers import Peer, Peers
from mgr.rpc.status import error_of
from mgr.rpc.v1.manager_pb2 import WatchActiveRequest, WatchActiveResponse
from mgr.waiting import Broadcast

PAUSE_MAX_S: Final = 0.1
PAUSE: Final = wait_exponential_jitter(multiplier=0.005, max=PAUSE_MAX_S, jitter=0.005)
"""Between two attempts: 5 ms at first, since a failover takes few, at most 100 ms."""

NO_ANSWER: Final = "no answer yet"


@dataclass(frozen=True, slots=True)
class LeaderHint:
    """Somebody said that this manager leads."""

    term: int
    address: str
    name: str = ""
    http_address: str = ""
    firsthand: bool = False
    """It said so itself: ``address`` is known to work from here."""


class SearchOverError(Exception):
    """Who began this search has ended it; who shared it begins another one."""


class _StreamEnded(Exception):  # noqa: N818 - no error: managers close their streams at a hand-over
    """A manager's stream is over; it is opened again after a pause."""


class LeaderSearch:
    """Follows who leads, within an ``async with`` block.

    Attributes:
        best: The active of the highest term that managers name now; None if none names any.
        answered: At least one manager answered since the block began.
        unhelpful: For each address that is no help now: why.

    """

    def __init__(
        self,
        peers: Peers,
        *,
        pause: wait_base = PAUSE,
        on_lower_term: Callable[[LeaderHint], None] = lambda _: None,
    ) -> None:
        """Ask ``peers``, and whoever they name; each again after ``pause`` if it is no help.

        ``on_lower_term`` is called with an active whose term is below the one known before.
        """
        self.best: LeaderHint | None = None
        self.answered = False
        self.unhelpful: dict[str, str] = {}
        self._peers = peers
        self._pause = pause
        self._on_lower_term = on_lower_term
        self._highest = 0
        self._hints: dict[str, LeaderHint] = {}
        self._callbacks: dict[Callable[[], object], int] = {}
        self._asked: set[str] = set()
        self._tasks = asyncio.TaskGroup()
        self._followers: list[asyncio.Task[None]] = []
        self._changed = Broadcast()
        self._over = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._ask_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._over = True
        self._notify()
        for follower in self._followers:
            follower.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def wait_changed(self) -> None:
        """Wait for the next piece of news, whatever it is.

        Raises:
            SearchOverError: The search has ended: there is no more news.

        """
        if not self._over:
            await self._changed.wait()
        if self._over:
            raise SearchOverError

    async def wait_newer(self, term: int) -> LeaderHint:
        """Wait for an active of a term above ``term``. Raises as ``wait_changed`` does."""
        while self.best is None or self.best.term <= term:
            await self.wait_changed()
        return self.best

    async def changes(self) -> AsyncGenerator[LeaderHint, None]:
        """Each new active, the first at once if it is known."""
        term = 0
        while True:
            if self.best is None or self.best.term == term:
                await self.wait_changed()
            else:
                term = self.best.term
                yield self.best

    @contextlib.contextmanager
    def on_superseded(self, term: int, callback: Callable[[], object]) -> Iterator[None]:
        """Call ``callback`` when ``term`` is the newest no more, while the block lasts."""
        self._callbacks[callback] = term
        try:
            self._call_superseded()
            yield
        finally:
            self._callbacks.pop(callback, None)

    def _ask_all(self) -> None:
        for address in self._peers.addresses:
            if address not in self._asked:
                self._asked.add(address)
                self._followers.append(self._tasks.create_task(self._follow(address)))

    async def _follow(self, address: str) -> None:
        self.unhelpful.setdefault(address, NO_ANSWER)
        async for attempt in AsyncRetrying(
            wait=self._pause, retry=retry_if_exception_type(_StreamEnded)
        ):
            with attempt:
                try:
                    await self._listen(self._peers.at(address))
                except grpc.aio.AioRpcError as failed:
                    self.unhelpful[address] = str(error_of(failed))
                self._record(address, None)
                self._notify()
                raise _StreamEnded

    async def _listen(self, peer: Peer) -> None:
        stream = peer.manager.WatchActive(WatchActiveRequest())
        try:
            async for message in stream:
                self._on_message(peer.address, message)
        finally:
            stream.cancel()

    def _on_message(self, address: str, message: WatchActiveResponse) -> None:
        self.answered = True
        for standby in message.standbys:
            self._peers.learn(standby.grpc_address)
        if message.HasField("active"):
            active = message.active
            firsthand = active.name == message.name
            self._peers.learn(active.grpc_address)
            self.unhelpful[address] = f"says that {active.name} leads"
            leader = LeaderHint(
                term=active.term,
                address=address if firsthand else active.grpc_address,
                name=active.name,
                http_address=active.http_address,
                firsthand=firsthand,
            )
            self._record(address, leader)
        else:
            self.unhelpful[address] = "says that nobody leads"
            self._record(address, None)
        self._ask_all()
        self._notify()

    def _record(self, address: str, leader: LeaderHint | None) -> None:
        """Take note that the manager at ``address`` names ``leader``, or nobody."""
        if leader is None:
            self._hints.pop(address, None)
        else:
            self._hints[address] = leader
        # What a manager says of itself came by a way that works from here; what others say of it
        # is the address it advertises, which may lead nowhere (another network's).
        named = max(
            self._hints.values(), key=lambda seen: (seen.term, seen.firsthand), default=None
        )
        best = self.best
        if named is None or best is None or named.term != best.term or named.firsthand:
            self.best = named
        if named is not None:
            if named.term < self._highest:
                self._on_lower_term(named)
            self._highest = named.term

    def _call_superseded(self) -> None:
        newest = self.best
        if newest is not None:
            for callback in [each for each, term in self._callbacks.items() if term != newest.term]:
                del self._callbacks[callback]
                callback()

    def _notify(self) -> None:
        self._changed.notify()
        self._call_superseded()


async def wait_at_most(seconds: float, search: LeaderSearch, term: int) -> None:
    """Pause for ``seconds``, or until an active of a term above ``term`` is known."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await search.wait_newer(term)
