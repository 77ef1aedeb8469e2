"""One call's way to the active, through switches, wrong addresses and managers that are gone.

A call is repeated only where that is safe: nothing ran (NOT_ACTIVE, nobody listens), or the
manager can tell a repetition by its request id (the connection broke, the term ended).

What is hedged is the question, not the command (docs/adr/0026): all managers are asked who leads,
at once where nobody knows, and else as soon as an answer is long in coming. The call is given
up not when it is slow, but when somebody leads in a newer term.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import grpc
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from mgr.client.attempt import refusal_after_attempt
from mgr.client.leader_cache import LeaderCache
from mgr.client.leader_search import PAUSE, LeaderHint, LeaderSearch, SearchOverError, wait_at_most
from mgr.client.losses import PoisonCommandGuard
from mgr.client.peers import Peer
from mgr.errors import (
    DeadlineExceededError,
    MayHaveRunError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    TermLostError,
    UnreachableError,
)
from mgr.rpc.status import error_of, from_manager
from mgr.waiting import wait

HINTS_MAX: Final = 3
"""Managers that name each other are not followed for ever."""
HEDGE_S: Final = 0.2
"""An answer is waited for this long before others are asked whether its manager still leads."""
SUPERSEDED_GRACE_S: Final = 0.05
"""A call that somebody newer makes hopeless may end by itself, with an answer or a hint that is
on its way."""
ATTEMPT_S_MIN: Final = 0.01
"""With less time left nothing is sent: it could only end as one more "outcome unknown"."""

A = TypeVar("A")
Send = Callable[[Peer, float], "grpc.aio.UnaryUnaryCall[Any, A]"]


class RetryElsewhere(Exception):  # noqa: N818 - no failure: the next attempt may well succeed
    """This attempt came to nothing, and another one is safe."""


class LeaderCall(Generic[A]):
    """One call, in as many attempts as it takes."""

    def __init__(
        self,
        leader_cache: LeaderCache,
        send: Send[A],
        *,
        timeout_s: float,
        repeatable: bool = True,
        changes: bool = True,
        earlier: Mapping[str, str] | None = None,
    ) -> None:
        """Call ``send`` with the active and the seconds that are left.

        Without ``repeatable`` it is given up as soon as it may have run. Without ``changes`` it
        only reads, and does not matter whether it ran. ``earlier`` says, by address, how attempts
        ended that were made before and may have run.
        """
        self._earlier = dict(earlier or {})
        self._changes = changes
        self._leader_cache = leader_cache
        self._send = send
        self._timeout_s = timeout_s
        self._begun_s = leader_cache.clock.now()
        self._repeatable = repeatable
        self._reasons: dict[str, str] = {}
        self._poison_guard = PoisonCommandGuard()
        self._tried_term = 0
        """The highest term that turned out to be no help."""
        self._answered = False
        """At least one of those who were asked who leads answered."""

    async def run(self) -> A:
        """Bring back the answer.

        Raises:
            UnreachableError: Nothing ran; for each manager the error says why.
            DeadlineExceededError: It may have run, and nobody could say in time.
            OutcomeUnknownError: It may have run and is not ``repeatable``; or an earlier attempt
                may have run, and the last one was refused.
            TermLostError: It was under way on two managers, and both were lost.
            MgrError: What the active refused it with, if nothing ran in any attempt.

        """
        while True:
            known = self._leader_cache.active
            if known is not None and known.term > self._tried_term:
                # The usual case: one call, and nothing else is set up.
                with contextlib.suppress(RetryElsewhere):
                    return await self._follow_hints(known)
            with contextlib.suppress(SearchOverError):
                async with self._leader_cache.search() as search:
                    return await self._retry(search)

    async def _retry(self, search: LeaderSearch) -> A:
        async def pause(seconds: float) -> None:
            await wait_at_most(seconds, search, self._tried_term)

        # Not from the call's beginning: it may have waited for one that was frozen, alone.
        asked_s = self._leader_cache.clock.now()

        def must_stop(_: RetryCallState) -> bool:
            self._answered |= search.answered
            now_s = self._leader_cache.clock.now()
            alone = not self._answered and now_s - asked_s >= self._leader_cache.reach_s
            return alone or now_s - self._begun_s >= self._timeout_s

        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(RetryElsewhere),
                wait=PAUSE,
                stop=must_stop,
                sleep=pause,
                reraise=True,
            ):
                with attempt:
                    leader = self._choose_leader(search)
                    if leader.term > self._tried_term:
                        # Somebody new: it may be ready in a moment, so be quick again.
                        attempt.retry_state.attempt_number = 1
                    return await self._follow_hints(leader)
        except RetryElsewhere:
            raise self._timeout_error(search) from None
        raise AssertionError("the loop returns or raises")

    def _choose_leader(self, search: LeaderSearch) -> LeaderHint:
        known = [seen for seen in (self._leader_cache.active, search.best) if seen]
        if not known:
            raise RetryElsewhere
        best = max(known, key=lambda seen: seen.term)
        if best.term <= self._tried_term and not self._leader_cache.budget.take():
            raise RetryElsewhere
        return best

    async def _follow_hints(self, leader: LeaderHint) -> A:
        """Ask one manager, and those that it names."""
        first = leader
        for _ in range(HINTS_MAX + 1):
            self._tried_term = max(self._tried_term, leader.term)
            try:
                answer = await self._call_once(leader)
            except NotActiveError as refused:
                self._reasons[leader.address] = str(refused)
                if refused.active_address in {None, leader.address}:
                    break
                if 0 < refused.term < self._tried_term:
                    # It has not heard yet what is known here.
                    break
                leader = LeaderHint(refused.term, str(refused.active_address), refused.active_name)
                self._leader_cache.peers.learn(leader.address)
            else:
                self._leader_cache.remember(leader)
                return answer
        self._leader_cache.forget(first)
        raise RetryElsewhere

    async def _call_once(self, leader: LeaderHint) -> A:
        remaining_s = self._begun_s + self._timeout_s - self._leader_cache.clock.now()
        if remaining_s < ATTEMPT_S_MIN:
            raise RetryElsewhere
        peer = self._leader_cache.peers.at(leader.address)
        sent = peer.ready()
        call = self._send(peer, remaining_s)
        try:
            if not await self._wait_ended(call, leader.term):
                raise self._unclear_error(peer, "gives no answer, and another manager leads by now")
            return await call
        except grpc.aio.AioRpcError as failed:
            raise self._classify(failed, peer, leader.term, sent=sent) from None
        finally:
            call.cancel()

    async def _wait_ended(self, call: grpc.aio.UnaryUnaryCall[Any, A], term: int) -> bool:
        """Wait for ``call`` to end; False if a newer term begins before."""
        ended = asyncio.Event()
        call.add_done_callback(lambda _: ended.set())
        # Where others are being asked anyway, what they say is heard from the beginning.
        if self._leader_cache.searching or not await wait(ended, HEDGE_S):
            async with asyncio.TaskGroup() as tasks:
                newer = tasks.create_task(self._watch_newer_term(term, ended))
                await ended.wait()
                newer.cancel()
        return call.done()

    async def _watch_newer_term(self, term: int, ended: asyncio.Event) -> None:
        """Set ``ended`` when somebody leads in a term above ``term``."""
        while not ended.is_set():
            with contextlib.suppress(SearchOverError):
                async with self._leader_cache.search() as search:
                    await search.wait_newer(term)
                    await wait(ended, SUPERSEDED_GRACE_S)
                    ended.set()
            # It was another call's search, which has found who leads: most likely this call's.
            await wait(ended, HEDGE_S)

    def _classify(
        self, failed: grpc.aio.AioRpcError, peer: Peer, term: int, *, sent: bool
    ) -> Exception:
        """Decide what a failure means: an answer of its own, or another attempt."""
        error = error_of(failed)
        if from_manager(failed):
            over = isinstance(error, TermLostError) and not isinstance(error, MayHaveRunError)
            return self._unclear_error(peer, str(error)) if over else self._refusal_error(error)
        if isinstance(error, UnreachableError):
            self._reasons[peer.address] = str(error)
            return RetryElsewhere()
        # A server that closes keeps the calls it has; the channel then shows no connection.
        sent = sent or peer.connected()
        if isinstance(error, DeadlineExceededError) and not sent:
            self._reasons[peer.address] = "no connection"
            return RetryElsewhere()
        if isinstance(error, OutcomeUnknownError):
            self._poison_guard.record_loss(term)
            too_often = self._repeatable and self._poison_guard.too_many
            return (
                self._poison_guard.error(str(error))
                if too_often
                else self._unclear_error(peer, str(error))
            )
        if isinstance(error, DeadlineExceededError):
            return self._unclear_error(peer, str(error))
        return self._refusal_error(error)

    def _refusal_error(self, error: MgrError) -> MgrError:
        """What a refusal of the last attempt means for the call."""
        # Who is not the active ends no call: the next attempt goes where it points.
        if not self._earlier or not self._changes or isinstance(error, NotActiveError):
            return error
        return refusal_after_attempt(error, _format_reasons(self._earlier))

    def _unclear_error(self, peer: Peer, why: str) -> Exception:
        """It may have run: asked again only where the manager knows a repetition."""
        self._reasons[peer.address] = why
        if not self._repeatable:
            return OutcomeUnknownError(f"{peer.address}: {why}; whether it was done is unknown")
        self._earlier[peer.address] = why
        return RetryElsewhere()

    def _timeout_error(self, search: LeaderSearch) -> MgrError:
        tried = search.unhelpful | self._reasons
        waited = f"within {self._timeout_s:g} s"
        if self._earlier:
            return DeadlineExceededError(
                f"no answer {waited}: whether the command ran is unknown ({_format_reasons(tried)})"
            )
        if not self._answered:
            return UnreachableError("no manager answered", failures=tried)
        return UnreachableError(f"no active manager {waited}", failures=tried)


def _format_reasons(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{address}: {why}" for address, why in reasons.items())
