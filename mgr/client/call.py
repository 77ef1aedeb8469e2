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

from mgr.client.attempt import not_believed
from mgr.client.leader_cache import Guide
from mgr.client.leader_search import PAUSE, Search, SearchOverError, Sighting, wait_at_most
from mgr.client.losses import Losses
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

HINTS_MAX: Final = 3
"""Managers that name each other are not followed for ever."""
HEDGE_S: Final = 0.2
"""An answer is waited for this long before others are asked whether its manager still leads."""
LAST_WORD_S: Final = 0.05
"""A call that somebody newer makes hopeless may end by itself, with an answer or a hint that is
on its way."""
ATTEMPT_S_MIN: Final = 0.01
"""With less time left nothing is sent: it could only end as one more "outcome unknown"."""

A = TypeVar("A")
Send = Callable[[Peer, float], "grpc.aio.UnaryUnaryCall[Any, A]"]


class Elsewhere(Exception):  # noqa: N818 - no failure: the next attempt may well succeed
    """This attempt came to nothing, and another one is safe."""


class Errand(Generic[A]):
    """One call, in as many attempts as it takes."""

    def __init__(
        self,
        guide: Guide,
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
        self._guide = guide
        self._send = send
        self._timeout_s = timeout_s
        self._begun_s = guide.clock.now()
        self._repeatable = repeatable
        self._why: dict[str, str] = {}
        self._losses = Losses()
        self._passed = 0
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
            known = self._guide.active
            if known is not None and known.term > self._passed:
                # The usual case: one call, and nothing else is set up.
                with contextlib.suppress(Elsewhere):
                    return await self._round(known)
            with contextlib.suppress(SearchOverError):
                async with self._guide.search() as search:
                    return await self._persist(search)

    async def _persist(self, search: Search) -> A:
        async def pause(seconds: float) -> None:
            await wait_at_most(seconds, search, self._passed)

        # Not from the call's beginning: it may have waited for one that was frozen, alone.
        asked_s = self._guide.clock.now()

        def hopeless(_: RetryCallState) -> bool:
            self._answered |= search.answered
            now_s = self._guide.clock.now()
            alone = not self._answered and now_s - asked_s >= self._guide.reach_s
            return alone or now_s - self._begun_s >= self._timeout_s

        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Elsewhere),
                wait=PAUSE,
                stop=hopeless,
                sleep=pause,
                reraise=True,
            ):
                with attempt:
                    sighting = self._next(search)
                    if sighting.term > self._passed:
                        # Somebody new: it may be ready in a moment, so be quick again.
                        attempt.retry_state.attempt_number = 1
                    return await self._round(sighting)
        except Elsewhere:
            raise self._giving_up(search) from None
        raise AssertionError("the loop returns or raises")

    def _next(self, search: Search) -> Sighting:
        known = [seen for seen in (self._guide.active, search.best) if seen]
        if not known:
            raise Elsewhere
        best = max(known, key=lambda seen: seen.term)
        if best.term <= self._passed and not self._guide.budget.take():
            raise Elsewhere
        return best

    async def _round(self, sighting: Sighting) -> A:
        """Ask one manager, and those that it names."""
        first = sighting
        for _ in range(HINTS_MAX + 1):
            self._passed = max(self._passed, sighting.term)
            try:
                answer = await self._ask(sighting)
            except NotActiveError as refused:
                self._why[sighting.address] = str(refused)
                if refused.active_address in {None, sighting.address}:
                    break
                if 0 < refused.term < self._passed:
                    # It has not heard yet what is known here.
                    break
                sighting = Sighting(refused.term, str(refused.active_address), refused.active_name)
                self._guide.peers.learn(sighting.address)
            else:
                self._guide.answered(sighting)
                return answer
        self._guide.no_help(first)
        raise Elsewhere

    async def _ask(self, sighting: Sighting) -> A:
        remaining_s = self._begun_s + self._timeout_s - self._guide.clock.now()
        if remaining_s < ATTEMPT_S_MIN:
            raise Elsewhere
        peer = self._guide.peers.at(sighting.address)
        sent = peer.ready()
        call = self._send(peer, remaining_s)
        try:
            if not await self._ended(call, sighting.term):
                raise self._unclear(peer, "gives no answer, and another manager leads by now")
            return await call
        except grpc.aio.AioRpcError as failed:
            raise self._judged(failed, peer, sighting.term, sent=sent) from None
        finally:
            call.cancel()

    async def _ended(self, call: grpc.aio.UnaryUnaryCall[Any, A], term: int) -> bool:
        """Wait for ``call`` to end; False if a newer term begins before."""
        ended = asyncio.Event()
        call.add_done_callback(lambda _: ended.set())
        # Where others are being asked anyway, what they say is heard from the beginning.
        if self._guide.searching or not await _within(HEDGE_S, ended):
            async with asyncio.TaskGroup() as tasks:
                newer = tasks.create_task(self._superseded(term, ended))
                await ended.wait()
                newer.cancel()
        return call.done()

    async def _superseded(self, term: int, ended: asyncio.Event) -> None:
        """Set ``ended`` when somebody leads in a term above ``term``."""
        while not ended.is_set():
            with contextlib.suppress(SearchOverError):
                async with self._guide.search() as search:
                    await search.newer(term)
                    await _within(LAST_WORD_S, ended)
                    ended.set()
            # It was another call's search, which has found who leads: most likely this call's.
            await _within(HEDGE_S, ended)

    def _judged(
        self, failed: grpc.aio.AioRpcError, peer: Peer, term: int, *, sent: bool
    ) -> Exception:
        """Decide what a failure means: an answer of its own, or another attempt."""
        error = error_of(failed)
        if from_manager(failed):
            over = isinstance(error, TermLostError) and not isinstance(error, MayHaveRunError)
            return self._unclear(peer, str(error)) if over else self._refused(error)
        if isinstance(error, UnreachableError):
            self._why[peer.address] = str(error)
            return Elsewhere()
        # A server that closes keeps the calls it has; the channel then shows no connection.
        sent = sent or peer.connected()
        if isinstance(error, DeadlineExceededError) and not sent:
            self._why[peer.address] = "no connection"
            return Elsewhere()
        if isinstance(error, OutcomeUnknownError):
            self._losses.note(term)
            too_often = self._repeatable and self._losses.too_many
            return self._losses.error(str(error)) if too_often else self._unclear(peer, str(error))
        if isinstance(error, DeadlineExceededError):
            return self._unclear(peer, str(error))
        return self._refused(error)

    def _refused(self, error: MgrError) -> MgrError:
        """What a refusal of the last attempt means for the call."""
        # Who is not the active ends no call: the next attempt goes where it points.
        if not self._earlier or not self._changes or isinstance(error, NotActiveError):
            return error
        return not_believed(error, _listed(self._earlier))

    def _unclear(self, peer: Peer, why: str) -> Exception:
        """It may have run: asked again only where the manager knows a repetition."""
        self._why[peer.address] = why
        if not self._repeatable:
            return OutcomeUnknownError(f"{peer.address}: {why}; whether it was done is unknown")
        self._earlier[peer.address] = why
        return Elsewhere()

    def _giving_up(self, search: Search) -> MgrError:
        tried = search.silent | self._why
        waited = f"within {self._timeout_s:g} s"
        if self._earlier:
            return DeadlineExceededError(
                f"no answer {waited}: whether the command ran is unknown ({_listed(tried)})"
            )
        if not self._answered:
            return UnreachableError("no manager answered", failures=tried)
        return UnreachableError(f"no active manager {waited}", failures=tried)


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{address}: {why}" for address, why in reasons.items())


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for ``event``; whether it came."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
