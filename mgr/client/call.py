"""Sends one call to the active manager, through failovers, wrong addresses and dead managers.

A call is repeated only where that is safe: nothing ran (NOT_ACTIVE, connection refused), or the
manager recognizes a repetition by its request id (the connection broke, the term ended).

The search for the leader is hedged, the command is not (docs/adr/0026): all managers are asked
who leads, at once if no leader is known, and otherwise as soon as the answer is slow to come. A
slow call is not abandoned, unless another manager leads in a newer term.
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
from mgr.client.leader_search import (
    PAUSE,
    LeaderHint,
    LeaderSearch,
    SearchOverError,
    newest,
    wait_at_most,
)
from mgr.client.peers import Peer
from mgr.client.retry import Failure, PoisonCommandGuard, RetryElsewhere, classify_failure
from mgr.errors import (
    DeadlineExceededError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    UnreachableError,
)
from mgr.rpc.status import error_of, from_manager
from mgr.waiting import wait

HINTS_MAX: Final = 3
"""How many hints one attempt follows: two managers may name each other."""
HEDGE_S: Final = 0.2
"""How long to wait for an answer before asking other managers whether this one still leads."""
SUPERSEDED_GRACE_S: Final = 0.05
"""How long a call may still end by itself after a newer term began: its answer, or a hint, may
already be on the way."""
ATTEMPT_S_MIN: Final = 0.01
"""With less time left nothing is sent: the attempt could only end with an unknown outcome."""

A = TypeVar("A")
Send = Callable[[Peer, float], "grpc.aio.UnaryUnaryCall[Any, A]"]


class LeaderCall(Generic[A]):
    """One call to the active manager, with its retries."""

    def __init__(  # noqa: PLR0913 - what is known of the call, each by name
        self,
        leader_cache: LeaderCache,
        send: Send[A],
        *,
        timeout_s: float,
        repeatable: bool = True,
        changes: bool = True,
        earlier: Mapping[str, str] | None = None,
        lost: bool = False,
    ) -> None:
        """Call ``send`` with the active manager and the seconds that are left.

        Without ``repeatable`` the call is not repeated once it may have run. Without ``changes``
        it only reads, so it does not matter whether an attempt ran. ``earlier`` holds, by address,
        how attempts ended that were made before this call and may have run. ``lost``: one of them
        lost its manager while it ran.
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
        if lost:
            self._poison_guard.record_loss(0)  # its term is not known: it counts as one of its own
        self._tried_term = 0
        """The highest term whose leader was tried without success."""
        self._answered = False
        """At least one manager answered the question who leads."""

    async def run(self) -> A:
        """Send the call until it is answered, and return the answer.

        Raises:
            UnreachableError: Nothing ran; the error names a reason for each manager.
            DeadlineExceededError: It may have run, and no answer came in time.
            OutcomeUnknownError: It may have run and is not ``repeatable``; or an earlier attempt
                may have run, and the last one was refused.
            TermLostError: It was running on two managers, and both were lost.
            MgrError: The active's refusal, if nothing ran in any attempt.

        """
        while True:
            known = self._leader_cache.active
            if known is not None and known.term > self._tried_term:
                # The usual case: one call, and no search is started.
                with contextlib.suppress(RetryElsewhere):
                    return await self._follow_hints(known)
            with contextlib.suppress(SearchOverError):
                async with self._leader_cache.search() as search:
                    return await self._retry(search)

    async def _retry(self, search: LeaderSearch) -> A:
        async def pause(seconds: float) -> None:
            await wait_at_most(seconds, search, self._tried_term)

        # ``reach_s`` counts from here, not from the beginning of the call: until now the call may
        # have waited for one frozen manager only.
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
                        # A new leader may be ready in a moment: start with short pauses again.
                        attempt.retry_state.attempt_number = 1
                    return await self._follow_hints(leader)
        except RetryElsewhere:
            raise self._timeout_error(search) from None
        raise AssertionError("the loop returns or raises")

    def _choose_leader(self, search: LeaderSearch) -> LeaderHint:
        best = newest(self._leader_cache.active, search.best)
        if best is None:
            raise RetryElsewhere
        if best.term <= self._tried_term and not self._leader_cache.budget.take():
            raise RetryElsewhere
        return best

    async def _follow_hints(self, leader: LeaderHint) -> A:
        """Send the call to one manager, then to those that it names as the leader."""
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
                    # This manager's information is older than ours.
                    break
                if not self._leader_cache.peers.reachable(str(refused.active_address)):
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
                raise self._unclear_error(peer, "did not answer, and another manager leads now")
            return await call
        except grpc.aio.AioRpcError as failed:
            raise self._classify(failed, peer, leader.term, sent=sent) from None
        finally:
            call.cancel()

    async def _wait_ended(self, call: grpc.aio.UnaryUnaryCall[Any, A], term: int) -> bool:
        """Wait for ``call`` to end; False if a newer term begins before that."""
        ended = asyncio.Event()
        call.add_done_callback(lambda _: ended.set())
        # If a search is running anyway, its results cost nothing: watch it from the beginning.
        if self._leader_cache.searching or not await wait(ended, HEDGE_S):
            async with asyncio.TaskGroup() as tasks:
                newer = tasks.create_task(self._watch_newer_term(term, ended))
                await ended.wait()
                newer.cancel()
        return call.done()

    async def _watch_newer_term(self, term: int, ended: asyncio.Event) -> None:
        """Set ``ended`` when a manager leads in a term above ``term``."""
        while not ended.is_set():
            with contextlib.suppress(SearchOverError):
                async with self._leader_cache.search() as search:
                    await search.wait_newer(term)
                    await wait(ended, SUPERSEDED_GRACE_S)
                    ended.set()
            # The search belonged to another call, which has found the leader: most likely the
            # manager that this call waits for. So wait a little before a search of our own.
            await wait(ended, HEDGE_S)

    def _classify(
        self, failed: grpc.aio.AioRpcError, peer: Peer, term: int, *, sent: bool
    ) -> Exception:
        """Return what to raise for a failed attempt: an error of the call, or a retry."""
        error = error_of(failed)
        if isinstance(error, NotActiveError):
            return error  # _follow_hints goes on to the manager that it names
        # A server that closes completes the calls it has, while the channel shows no connection
        # any more: so the state before the call counts as well.
        sent = sent or peer.connected()
        failure = classify_failure(error, from_manager=from_manager(failed), sent=sent)
        if not self._changes and isinstance(error, DeadlineExceededError) and sent:
            return self._unclear_error(peer, str(error))
        if failure is Failure.RETRY_ELSEWHERE:
            never_sent = isinstance(error, DeadlineExceededError)
            self._reasons[peer.address] = "no connection" if never_sent else str(error)
            return RetryElsewhere()
        if failure is Failure.UNCLEAR:
            if isinstance(error, OutcomeUnknownError):
                self._poison_guard.record_loss(term)
                if self._repeatable and self._poison_guard.too_many:
                    return self._poison_guard.error(str(error))
            return self._unclear_error(peer, str(error))
        return self._refusal_error(error)

    def _refusal_error(self, error: MgrError) -> MgrError:
        """Return the error of a call whose last attempt was refused with ``error``."""
        if not self._earlier or not self._changes:
            return error
        return refusal_after_attempt(error, _format_reasons(self._earlier))

    def _unclear_error(self, peer: Peer, why: str) -> Exception:
        """Return what to raise after an attempt that may have run.

        It is repeated only if a manager recognizes the repetition.
        """
        self._reasons[peer.address] = why
        if not self._repeatable:
            return OutcomeUnknownError(f"{peer.address}: {why}; whether it was done is unknown")
        self._earlier[peer.address] = why
        return RetryElsewhere()

    def _timeout_error(self, search: LeaderSearch) -> MgrError:
        tried = search.unhelpful | self._reasons
        waited = f"within {self._timeout_s:g} s"
        if self._earlier and not self._changes:
            return UnreachableError(f"no answer {waited}; nothing was changed", failures=tried)
        if self._earlier:
            return DeadlineExceededError(
                f"no answer {waited}: whether the command ran is unknown ({_format_reasons(tried)})"
            )
        if not self._answered and search.refused is not None:
            return search.refused
        if not self._answered:
            return UnreachableError("no manager answered", failures=tried)
        return UnreachableError(f"no active manager {waited}{search.advice()}", failures=tried)


def _format_reasons(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{address}: {why}" for address, why in reasons.items())
