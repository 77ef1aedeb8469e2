"""The connection of a simulated manager to its store, with faults, and a safety checker."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Sequence
from enum import Enum, auto

from mgr.clock import Clock
from mgr.election.records import TermRecord, decode
from mgr.errors import MgrError, OutcomeUnknownError, StoreUnavailableError
from mgr.store.api import Created, FeedEvent, Interrupted, Put, Store
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.virtual_loop import VirtualLoop, context_of

KEYS = Keys("sim")
LATENCY_S = 0.002
SILENCE_S = 3.0
"""A feed that hears nothing for so long says so."""
EXCUSED_S = 15.0
"""For so long after a pause that its host cannot see, a manager believes in deadlines of before."""
READS = frozenset({"get", "list", "status"})


class NetworkFault(Enum):
    """What becomes of a manager's requests."""

    NONE = auto()
    REQUEST_LOST = auto()
    ANSWER_LOST = auto()
    LATE = auto()
    """Reads are answered; of a write the caller gives up, and then it arrives after all."""


class ViolationError(AssertionError):
    """Two managers acted, or a write came too late, or a term record was wrong."""


class SafetyChecker:
    """Sees every write and effect, and fails at the first one that must not happen.

    Late effects of a manager whose host was paused without its knowing are counted, and no more:
    ``late_effects``. Writes must hold then as well.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._believed: dict[int, float] = {}
        self.effects: list[tuple[float, str, int]] = []
        self.writes = 0
        self.endings: list[TermRecord] = []
        self.violation: ViolationError | None = None
        self._last_term = 0
        self._acting: dict[int, str] = {}
        self._certified: set[int] = set()
        self._leaders: dict[int, str] = {}
        self._paused_s: dict[str, float] = {}
        self._deleted: set[str] = set()
        self.late_effects = 0

    def on_host_pause(self, name: str) -> None:
        """The host of manager ``name`` is being paused, or goes on, and cannot know of it."""
        self._paused_s[name] = self._clock.now()

    def on_delete(self, key: str) -> None:
        """It was acknowledged that ``key`` is gone for good."""
        self._deleted.add(key)

    def effect(self, now_s: float, worker: str, term: int) -> None:
        """A worker did something outside the store."""
        if self._excused(term) and self.effects and term < self.effects[-1][2]:
            self.late_effects += 1
            return
        if term in self._certified:
            self._fail(f"{worker} acts in term {term}, which was recorded as over")
        if self.effects and term < self.effects[-1][2]:
            self._fail(f"{worker} acts in term {term} after {self.effects[-1][1:]} did")
        if self._acting.setdefault(term, worker) != worker:
            self._fail(f"{worker} and {self._acting[term]} both act in term {term}")
        self.effects.append((now_s, worker, term))

    def commit(self, operations: Sequence[object], leader_created: int) -> None:
        """The store did ``operations``; the leader key was made at ``leader_created`` before."""
        for operation in operations:
            if not isinstance(operation, Put):
                continue
            if operation.key.startswith(KEYS.kv):
                self.writes += 1
                if operation.key in self._deleted:
                    self._fail(f"{operation.key} was deleted, and is there again")
                if int(operation.value) != leader_created:
                    self._fail(
                        f"a write of term {operation.value} was done in term {leader_created}"
                    )
            if operation.key == KEYS.term_record:
                term_record = decode(operation.value, TermRecord)
                if term_record.quiesced:
                    self._certified.add(term_record.term)
                if term_record.reason != "leading":
                    self.endings.append(term_record)
                if term_record.reason == "deposed":
                    self._deposed(term_record.term)

    def on_deadline(self, term: int, deadline_s: float) -> None:
        """A worker was told that it may act in ``term`` until ``deadline_s``."""
        self._believed[term] = max(deadline_s, self._believed.get(term, deadline_s))

    def _deposed(self, term: int) -> None:
        left_s = self._believed.get(term, 0.0) - self._clock.now()
        if left_s > 0 and not self._excused(term):
            self._fail(f"term {term} was deposed {left_s:.3f} s before its deadline")

    def _excused(self, term: int) -> bool:
        """Whether the leader's host was paused in this term, or shortly before it."""
        paused_s = self._paused_s.get(self._leaders.get(term, ""), float("-inf"))
        return self._clock.now() - paused_s < EXCUSED_S

    def on_term_start(self, term: int, name: str) -> None:
        """A worker of manager ``name`` was told to lead."""
        self._leaders[term] = name
        if term <= self._last_term:
            self._fail(f"term {term} begins after term {self._last_term}")
        self._last_term = term

    def _fail(self, what: str) -> None:
        self.violation = self.violation or ViolationError(what)


class FaultyStore:
    """A manager's connection to the store: requests take time, and fail by ``network_fault``."""

    def __init__(
        self, inner: MemoryStore, checker: SafetyChecker, loop: VirtualLoop, rng: random.Random
    ):
        self.slow_s = 0.0
        """How much longer than usual every request takes, whatever its time-out."""
        self._network_fault = NetworkFault.NONE
        self._fine = asyncio.Event()
        self._fine.set()
        self._inner = inner
        self._checker = checker
        self._loop = loop
        self._rng = rng

    @property
    def network_fault(self) -> NetworkFault:
        """What becomes of the requests that are sent now."""
        return self._network_fault

    @network_fault.setter
    def network_fault(self, network_fault: NetworkFault) -> None:
        self._network_fault = network_fault
        if network_fault is NetworkFault.NONE:
            self._fine.set()
        else:
            self._fine.clear()

    def __getattr__(self, name):
        async def call(*args, timeout_s=2.0, **kwargs):
            unclear = StoreUnavailableError if name in READS else OutcomeUnknownError
            network_fault = self.network_fault
            if network_fault is NetworkFault.LATE and name in READS:
                network_fault = NetworkFault.NONE
            if network_fault is NetworkFault.LATE:
                late_s = self._rng.uniform(timeout_s, 4 * timeout_s)
                # Nobody's process: what is on the wire arrives whoever froze or died.
                self._loop.call_later(
                    late_s, self._arrive, name, args, kwargs, context=context_of("the wire")
                )
            if network_fault in {NetworkFault.REQUEST_LOST, NetworkFault.LATE}:
                await asyncio.sleep(timeout_s)
                raise unclear(f"{name}: no answer within {timeout_s} s")
            await asyncio.sleep(self.slow_s + LATENCY_S * self._rng.uniform(0.2, 1))
            answer = await self._deliver(name, args, kwargs)
            if NetworkFault.ANSWER_LOST in {network_fault, self.network_fault}:
                await asyncio.sleep(timeout_s)
                raise unclear(f"{name}: no answer within {timeout_s} s")
            # What was read is known at once: the earlier a standby sees a sign of life, the earlier
            # it begins to count. What was done is known late, when a successor may exist.
            if name not in READS:
                await asyncio.sleep(LATENCY_S * self._rng.uniform(0.2, 1))
            return answer

        return call

    async def follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        """The events of the feed; ``Interrupted`` after a silence while the network fails."""
        while True:
            await self._fine.wait()
            async with contextlib.aclosing(self._inner.follow(prefix)) as feed:
                async for event in feed:
                    if self.network_fault is not NetworkFault.NONE:
                        break
                    await asyncio.sleep(LATENCY_S * self._rng.uniform(0.2, 1))
                    yield event
            await asyncio.sleep(SILENCE_S)
            yield Interrupted("silence")

    async def _deliver(self, name, args, kwargs):
        if name != "commit":
            return await getattr(self._inner, name)(*args, **kwargs)
        leader = await self._inner.get(KEYS.leader)
        answer = await self._inner.commit(*args, **kwargs)
        if answer.succeeded:
            self._checker.commit(args[0], 0 if leader is None else leader.create_revision)
        return answer

    def _arrive(self, name, args, kwargs) -> None:
        # The dictionary never waits, so one push brings it to its end.
        delivery = self._deliver(name, args, kwargs)
        with contextlib.suppress(StopIteration, MgrError):
            delivery.send(None)


class Unguarded:
    """A store with which writes do not carry the proof of their term: a broken build."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def commit(self, operations, *, when=(), **kwargs):
        """Commit without comparing the leader key."""
        when = [c for c in when if not (isinstance(c, Created) and c.key.endswith("/leader"))]
        return await self._inner.commit(operations, when=when, **kwargs)
