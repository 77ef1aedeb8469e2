"""Finds the leader: asks every manager at once and follows each change.

Each manager keeps a stream open for as long as the search lasts, so a failover is known one
message after it happened, also if the old active is frozen and sends nothing. The highest term
wins: terms only grow, and a manager that is cut off has an older one. There is one exception: if
no manager names the highest term any more and some name a lower one, the lower one counts. Then
etcd was restored from a backup, or replaced, and waiting for higher terms would never end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

import grpc
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential_jitter,
)
from tenacity.wait import wait_base

from mgr.client.peers import Peer, Peers
from mgr.errors import NotAuthenticatedError, UnreachableError
from mgr.rpc.status import error_of
from mgr.rpc.v1.manager_pb2 import WatchActiveRequest, WatchActiveResponse
from mgr.waiting import Broadcast

PAUSE_MAX_S: Final = 0.1
PAUSE: Final = wait_exponential_jitter(multiplier=0.005, max=PAUSE_MAX_S, jitter=0.005)
"""Pause between two attempts: 5 ms at first, because a failover is short; at most 100 ms."""
UNREACHABLE_ATTEMPT: Final = 4
"""The pauses begin with the fourth, 40 ms, for a manager that cannot be reached."""
FOLLOW_PAUSE_MAX_S: Final = 1.0
FOLLOW_PAUSE: Final = wait_exponential_jitter(multiplier=0.005, max=FOLLOW_PAUSE_MAX_S, jitter=0.05)
"""The same for a search that lasts for days, as that of a follower of the log: with every manager
dead, ten new connections a second to each would cost half a processor."""

REDIAL_S: Final = 0.1
"""Pause before an address that the user gave is dialled again, because the leader that it names
cannot be reached: behind a load balancer the next connection may lead to another manager."""

NO_ANSWER: Final = "no answer yet"


@dataclass(frozen=True, slots=True)
class LeaderHint:
    """A manager that leads, as reported by itself or by another manager."""

    term: int
    address: str
    name: str = ""
    http_address: str = ""
    firsthand: bool = False
    """Reported by itself, so ``address`` is reachable from here."""


def newest(*hints: LeaderHint | None) -> LeaderHint | None:
    """Return the hint of the highest term, the first of several; None if there is no hint."""
    return max((hint for hint in hints if hint), key=lambda hint: hint.term, default=None)


class SearchOverError(Exception):
    """The call that began this search has ended it; calls that shared it begin another one."""


class _StreamEnded(Exception):  # noqa: N818 - no error: managers close their streams at a hand-over
    """A manager's stream is over; it is opened again after a pause."""


class LeaderSearch:
    """Follows which manager leads, within an ``async with`` block.

    Attributes:
        best: The active of the highest term that managers name now; None if none is named.
        answered: At least one manager answered since the block began.
        refused: What a manager answered that does not accept who this client says it is.
        unhelpful: For each address that did not lead to the active: why.

    """

    def __init__(
        self,
        peers: Peers,
        *,
        pause: wait_base = PAUSE,
        on_lower_term: Callable[[LeaderHint], None] = lambda _: None,
    ) -> None:
        """Ask ``peers`` and the managers that they name.

        A manager is asked again, after ``pause``, whenever its stream has ended.
        ``on_lower_term`` is called with an active whose term is below the one known before.
        """
        self.best: LeaderHint | None = None
        self.answered = False
        self.refused: NotAuthenticatedError | None = None
        self.unhelpful: dict[str, str] = {}
        self._peers = peers
        self._pause = pause
        self._on_lower_term = on_lower_term
        self._highest = 0
        self._hints: dict[str, LeaderHint] = {}
        self._callbacks: dict[Callable[[], object], int] = {}
        self._asked: set[str] = set()
        self._unreachable: set[str] = set()
        """Addresses that were learned from managers, and that cannot be reached from here."""
        self._streams: dict[str, asyncio.Timeout] = {}
        self._wrongly_advertised: LeaderHint | None = None
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
        """Wait for the next message or lost stream of any manager.

        Raises:
            SearchOverError: The search has ended: nothing will change any more.

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
        """Yield each new active, the first at once if it is known."""
        term = 0
        while True:
            if self.best is None or self.best.term == term:
                await self.wait_changed()
            else:
                term = self.best.term
                yield self.best

    @contextlib.contextmanager
    def on_superseded(self, term: int, callback: Callable[[], object]) -> Iterator[None]:
        """Call ``callback`` once ``term`` is no longer the newest, while the block lasts."""
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
                    await self._listen(self._peers.at(address), attempt.retry_state)
                except grpc.aio.AioRpcError as failed:
                    error = error_of(failed)
                    self.unhelpful[address] = str(error)
                    if isinstance(error, UnreachableError):
                        self._on_unreachable(address, attempt.retry_state)
                    if isinstance(error, NotAuthenticatedError):
                        self.refused = error
                self._record(address, None)
                self._notify()
                raise _StreamEnded

    def _on_unreachable(self, address: str, state: RetryCallState) -> None:
        # Each attempt costs a new connection, and a process that does not listen has died or
        # starts: neither is over in 5 ms. Until then the others tell who leads.
        state.attempt_number = max(state.attempt_number, UNREACHABLE_ATTEMPT)
        if address not in self._peers.given:
            self._unreachable.add(address)
            self._redial()

    async def _listen(self, peer: Peer, state: RetryCallState) -> None:
        stream = peer.manager.WatchActive(WatchActiveRequest())
        try:
            async with asyncio.timeout(None) as self._streams[peer.address]:
                async for message in stream:
                    # A manager that answered is soon back: start with short pauses again.
                    state.attempt_number = 1
                    self._on_message(peer.address, message)
        except TimeoutError:
            self._peers.redial(peer.address)
        finally:
            del self._streams[peer.address]
            stream.cancel()

    def _redial(self) -> None:
        """Dial again every given address that names a leader which cannot be reached."""
        for address in self._peers.given:
            hint, stream = self._hints.get(address), self._streams.get(address)
            if hint is None or hint.address not in self._unreachable:
                continue
            self._wrongly_advertised = hint
            if stream is not None and stream.when() is None:
                stream.reschedule(asyncio.get_running_loop().time() + REDIAL_S)

    def advice(self) -> str:
        """Return what to do if the leader's address cannot be reached; empty if it can."""
        hint = self._wrongly_advertised
        if hint is None or hint.address not in self._unreachable:
            return ""
        return (
            f"; mgr.{hint.name} leads and advertises {hint.address}, which cannot be reached from "
            "here: set grpc_advertise of each manager to an address that can"
        )

    def _on_message(self, address: str, message: WatchActiveResponse) -> None:
        self.answered = True
        self._unreachable.discard(address)
        for standby in message.standbys:
            self._peers.learn(standby.grpc_address)
        if message.HasField("active"):
            active = message.active
            firsthand = active.name == message.name
            self._peers.learn(active.grpc_address)
            self.unhelpful[address] = f"reports {active.name} as the leader"
            leader = LeaderHint(
                term=active.term,
                address=address if firsthand else active.grpc_address,
                name=active.name,
                http_address=active.http_address,
                firsthand=firsthand,
            )
            usable = firsthand or self._peers.reachable(leader.address)
            self._record(address, leader if usable else None)
            self._redial()
        else:
            self.unhelpful[address] = "reports no leader"
            self._record(address, None)
        self._ask_all()
        self._notify()

    def _record(self, address: str, leader: LeaderHint | None) -> None:
        """Record that the manager at ``address`` names ``leader``, or no leader."""
        if leader is None:
            self._hints.pop(address, None)
        else:
            self._hints[address] = leader
        # A manager that names itself is reachable from here at ``address``. Other managers name
        # the address it advertises, which may be unreachable (of another network, for example).
        # So of one term the firsthand hint wins.
        named = max(
            self._hints.values(), key=lambda hint: (hint.term, hint.firsthand), default=None
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
