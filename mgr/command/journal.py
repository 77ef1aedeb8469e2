"""At most once: which mutating commands began, in which term, and how they ended.

A request id stands for one intention. Before its command runs, ``requests/<id>`` is written as
*started*, which succeeds for one attempt only; afterwards the result is written over it. Each
write is guarded by the term, so a manager that lost its office can neither begin a command here
nor record a result. A later attempt finds

- nothing: it runs;
- a result: it gets that result;
- *started* in a term that is over: nobody knows how far it came, so it is not run again,
  unless its author declared it idempotent;
- the id among those whose results were evicted (``mgr/command/evicted.py``): it is not run again;
- nothing, and its client first sent it so long ago that a record may have expired: it is not run.

What is no longer known is refused. It is never taken for what never ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, Protocol

import msgspec

from mgr.clock import Clock
from mgr.command.answer import Answer
from mgr.command.evicted import EVICTED_MAX, EvictedRequests
from mgr.command.protocols import EarlierAttempts
from mgr.command.request import DIGEST_FORM
from mgr.errors import (
    ConflictError,
    InvalidArgumentError,
    LeaseExpiredError,
    MayHaveRunError,
    OutcomeUnknownError,
    OverloadedError,
    StoreError,
    StoreUnavailableError,
)
from mgr.store.api import (
    ABSENT,
    UNREADABLE,
    Compare,
    Created,
    Delete,
    FencedWriter,
    Grant,
    LeaseId,
    Modified,
    Operation,
    Put,
    Record,
)
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

LIFE_S: Final = 600
"""An entry lives at least this long: a client retries for seconds, an operator for minutes."""
LEASE_TTL_S: Final = LIFE_S + 60
"""Entries share a lease that is never renewed. After its first minute new entries get a new one, so
each lives for ``LIFE_S`` and at most a minute more: nothing is left to clean up or to keep alive,
and there is room for new ids every minute."""
AGE_MAX_S: Final = LIFE_S - 60
"""A request first sent longer ago is not run if it is not known: its record may have expired. The
margin is for clocks that run at different rates and for the time a request is on its way."""
ENTRIES_MAX: Final = 10_000
"""Results kept. More, and the oldest are evicted before their time: a flood of commands must not
fill every manager's memory."""
RESULTS_CHARS_MAX: Final = 16 << 20
"""What all results may take, in characters, for the same reason: many of them may be long."""
EVICTED_AT_ONCE: Final = 100
"""Results evicted along with one new one: a transaction holds only so much. Many at once, so that
the record of their ids costs little for each."""
OUTPUT_BYTES_MAX: Final = 64 << 10
"""A longer output is not kept. Half of a JSON document is worse than a sentence that says why."""
LOCAL_OUTCOMES_MAX: Final = 1024
PRELOAD_AFTER_S: Final = 1.0
"""When to count the results of earlier terms: those who waited for this one are served by then."""
PRELOADED_AT_ONCE: Final = 200
"""Results of earlier terms counted between two turns of the loop: about a millisecond."""

log = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started", tag_field="state"):
    """The command began in ``term``; what it was is told by ``digest``."""

    term: int
    digest: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done", tag_field="state"):
    """The command ended in ``term``; ``omitted`` bytes of output were too much to keep."""

    term: int
    digest: str
    retval: int
    stdout: str
    stderr: str
    omitted: int = 0


_DECODER: Final[msgspec.json.Decoder[Started | Done]] = msgspec.json.Decoder(Started | Done)


class Store(Protocol):
    """What the journal asks of the store itself."""

    async def get(self, key: str) -> Record | None:
        """Read linearizably."""
        ...

    async def grant(self, ttl_s: int) -> Grant:
        """Make a lease."""
        ...


class _Outcome(Enum):
    NEVER_RAN = auto()


NO_ATTEMPT: Final = EarlierAttempts()
"""No attempt ever ran, and none can run later."""


class Journal:
    """The table of one term. It trusts the mirror, which has seen every earlier term's writes.

    (An entry of an earlier term was written before its leader key went, so before this term's
    create revision, and the mirror reached that before the first command.)
    """

    def __init__(
        self,
        fenced: FencedWriter,
        keys: Keys,
        mirror: Mirror,
        store: Store,
        *,
        term: int,
        clock: Clock,
    ) -> None:
        self._fenced = fenced
        self._keys = keys
        self._mirror = mirror
        self._store = store
        self._term = term
        self._clock = clock
        self._lease: LeaseId | None = None
        self._lease_fresh_until_s = 0.0
        self._lease_lock = asyncio.Lock()
        # What this worker knows of its own attempts and the store does not.
        self._local_outcomes: OrderedDict[str, Answer | _Outcome] = OrderedDict()
        # Results by age, with the length of each, and of all.
        self._finished: deque[tuple[str, int]] = deque()
        self._results_chars = 0
        self._evicted = EvictedRequests(mirror, keys, term=term)

    async def preload(self) -> None:
        """Make ready for what comes, after the first commands: they are not to wait for it.

        There may be thousands of results from earlier terms. Only how many is of interest, and
        only once there are too many; whoever asks for one of them is answered from the mirror.
        """
        with contextlib.suppress(StoreError):  # the first command will tell its caller
            await self._current_lease()
        await self._evicted.load()
        await asyncio.sleep(PRELOAD_AFTER_S)
        records = self._mirror.list(self._keys.requests).values()
        earlier = [record for record in records if record.mod_revision < self._term]
        earlier.sort(key=lambda record: record.mod_revision, reverse=True)
        for count, record in enumerate(earlier, 1):
            if isinstance(_decoded(record), Done):
                self._finished.appendleft((record.key, len(record.value)))
                self._results_chars += len(record.value)
            if count % PRELOADED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def earlier_attempts(
        self, request_id: str, digest: str, *, age_s: float = 0.0
    ) -> EarlierAttempts:
        """Return what is known of earlier attempts, without I/O: a lookup or two.

        ``age_s`` is how long ago, in seconds, the client first sent the request.

        Raises:
            MayHaveRunError: Its result was evicted; its record cannot be read; or it is unknown
                and so old that its record may have expired. In no case is it to run.
            InvalidArgumentError: The id was used for another command.

        """
        record = self._mirror.get(self._keys.request(request_id))
        return self._earlier_attempts(request_id, record, digest, age_s)

    async def begin(
        self, request_id: str, digest: str, *, idempotent: bool, age_s: float = 0.0
    ) -> EarlierAttempts:
        """Record that ``request_id`` starts, unless there is an ``answer`` of an earlier attempt.

        Raises:
            MayHaveRunError: An earlier attempt began and its result is not known.
            InvalidArgumentError: The id was used for another command.
            OverloadedError: There is no room for more ids. Nothing ran.
            StoreUnavailableError: Not recorded. This attempt ran nothing: retry.
            FencedError: The term is over. Nothing ran here.

        """
        key = self._keys.request(request_id)
        record = self._mirror.get(key)
        started = _encoded(Started(term=self._term, digest=digest))
        for _ in range(3):
            earlier = self._earlier_attempts(request_id, record, digest, age_s)
            if earlier.answer is not None:
                return earlier
            if earlier.unclear_term is not None and not idempotent:
                raise MayHaveRunError(request_id, term=earlier.unclear_term)
            if record is None:
                self._check_room()
            unchanged: Compare = (
                Created(key, ABSENT) if record is None else Modified(key, record.mod_revision)
            )
            try:
                await self._write(key, started, when=(unchanged,))
            except ConflictError:
                record = await self._store.get(key)
                if record is None:
                    break  # the mirror does not show yet what became of it
            except OutcomeUnknownError as error:
                # Recorded or not, this attempt does not run: the next one may.
                if earlier.unclear_term is None:
                    self._set_local_outcome(request_id, _Outcome.NEVER_RAN)
                raise StoreUnavailableError(
                    f"request {request_id} was not begun: {error}"
                ) from error
            else:
                self._local_outcomes.pop(request_id, None)
                return earlier
        raise ConflictError(f"request {request_id} is being begun by somebody else: retry")

    async def finish(self, request_id: str, digest: str, answer: Answer) -> bool:
        """Record what ``request_id``, begun with ``digest``, answered; whether the store has it.

        If it has not, this worker still remembers: a retry in the same term gets the answer.

        Raises:
            FencedError: The term is over: what ran may be undone or repeated by a successor.

        """
        key = self._keys.request(request_id)
        done = _encoded(_result(answer, self._term, digest))
        try:
            await self._write(
                key, done, evict=[old for old in self._surplus(len(done)) if old != key]
            )
        except StoreError as error:
            log.warning(
                "a command's result could not be recorded",
                extra={"request_id": request_id, "error": str(error)},
            )
            self._set_local_outcome(request_id, answer)
            return False
        self._finished.append((key, len(done)))
        self._results_chars += len(done)
        return True

    async def forget(self, request_id: str) -> None:
        """Nothing ran after all: the next attempt may begin. Never raises for a silent store."""
        self._set_local_outcome(request_id, _Outcome.NEVER_RAN)
        try:
            await self._fenced.commit([Delete(self._keys.request(request_id))])
        except StoreError as error:
            log.warning(
                "a request that never ran could not be forgotten",
                extra={"request_id": request_id, "error": str(error)},
            )

    def _surplus(self, size: int) -> list[str]:
        """Take the oldest results off the list to make room for ``size`` characters; their keys."""
        has_room = (
            len(self._finished) < ENTRIES_MAX and self._results_chars + size <= RESULTS_CHARS_MAX
        )
        if has_room or self._evicted.full:
            return []
        entries, kept = ENTRIES_MAX - EVICTED_AT_ONCE, RESULTS_CHARS_MAX - RESULTS_CHARS_MAX // 8
        surplus: list[str] = []
        while self._finished and len(surplus) < EVICTED_AT_ONCE:
            if len(self._finished) <= entries and self._results_chars + size <= kept:
                break
            old, freed = self._finished.popleft()
            self._results_chars -= freed
            surplus.append(old)
        return surplus

    def _check_room(self) -> None:
        results = len(self._finished)
        if self._evicted.full and (
            results >= ENTRIES_MAX or self._results_chars >= RESULTS_CHARS_MAX
        ):
            raise OverloadedError(
                f"no room for another request id: {results} results are kept, and the ids of "
                f"{EVICTED_MAX} older ones; the oldest expire within {LEASE_TTL_S // 60} minutes"
            )

    def _earlier_attempts(
        self, request_id: str, record: Record | None, digest: str, age_s: float
    ) -> EarlierAttempts:
        if record is None:
            self._check_known(request_id, age_s)
            return NO_ATTEMPT
        entry = _decoded(record)
        if entry is None:
            raise MayHaveRunError(request_id, term=0, why="its record cannot be read")
        if entry.digest != digest and entry.digest.startswith(DIGEST_FORM):
            raise InvalidArgumentError(
                f"request id {request_id} was used for another command: make a new id for each"
            )
        if isinstance(entry, Done):
            return EarlierAttempts(_answer(entry))
        if entry.term == self._term:
            known = self._local_outcomes.get(request_id)
            if isinstance(known, Answer):
                return EarlierAttempts(known)
            if known is _Outcome.NEVER_RAN:
                return NO_ATTEMPT
        return EarlierAttempts(unclear_term=entry.term)

    def _check_known(self, request_id: str, age_s: float) -> None:
        """Raise unless an id without a record is certain to be new."""
        if request_id in self._evicted:
            why = "its result is no longer kept: too many commands came after it"
            raise MayHaveRunError(request_id, term=0, why=why, ran=True)
        if age_s > AGE_MAX_S:
            why = f"first sent {age_s:.0f} s ago; what ran is known for {AGE_MAX_S} s; not run now"
            raise MayHaveRunError(request_id, term=0, why=why)

    def _set_local_outcome(self, request_id: str, what: Answer | _Outcome) -> None:
        self._local_outcomes[request_id] = what
        self._local_outcomes.move_to_end(request_id)
        # Whatever is forgotten here is answered "may have run", which is always safe.
        while len(self._local_outcomes) > LOCAL_OUTCOMES_MAX:
            self._local_outcomes.popitem(last=False)

    async def _write(
        self,
        key: str,
        value: str,
        *,
        when: Sequence[Compare] = (),
        evict: Sequence[str] = (),
    ) -> None:
        try:
            await self._write_on(await self._current_lease(), key, value, when, evict)
        except LeaseExpiredError:
            # Somebody revoked it by hand, or etcd was restored from a backup.
            self._lease = None
            await self._write_on(await self._current_lease(), key, value, when, evict)

    async def _write_on(
        self,
        lease: LeaseId,
        key: str,
        value: str,
        when: Sequence[Compare],
        evict: Sequence[str],
    ) -> None:
        operations: list[Operation] = [Put(key, value, lease), *map(Delete, evict)]
        if evict:
            prefix = self._keys.requests
            ids = [old.removeprefix(prefix) for old in evict]
            operations.append(self._evicted.record(ids, lease))
        await self._fenced.commit(operations, when)

    async def _current_lease(self) -> LeaseId:
        async with self._lease_lock:
            # The moment before the request counts: the lease began to run some time after it.
            asked_at_s = self._clock.now()
            if self._lease is None or asked_at_s >= self._lease_fresh_until_s:
                granted = await self._store.grant(LEASE_TTL_S)
                self._lease = granted.lease
                self._lease_fresh_until_s = asked_at_s + granted.ttl_s - LIFE_S
            return self._lease


def _result(answer: Answer, term: int, digest: str) -> Done:
    size = len(answer.stdout.encode()) + len(answer.stderr.encode())
    kept = size <= OUTPUT_BYTES_MAX
    return Done(
        term=term,
        digest=digest,
        retval=answer.retval,
        stdout=answer.stdout if kept else "",
        stderr=answer.stderr if kept else "",
        omitted=0 if kept else size,
    )


def _answer(done: Done) -> Answer:
    stderr = done.stderr
    if done.omitted:
        stderr = (
            f"this request ran once, in term {done.term}, and answered {done.retval}; its output "
            f"of {done.omitted} bytes was too long to be kept"
        )
    return Answer(done.retval, done.stdout, stderr, term=done.term)


def _encoded(entry: Started | Done) -> str:
    return msgspec.json.encode(entry).decode()


def _decoded(record: Record) -> Started | Done | None:
    try:
        return _DECODER.decode(record.value)
    except UNREADABLE as error:
        log.warning("unreadable record", extra={"key": record.key, "error": str(error)})
        return None
