"""Journal of mutating commands, which makes each request id run at most once.

All retries of one request have the same request id. Before the command runs, ``requests/<id>`` is
written as *started*, which succeeds for one attempt only; afterwards the result replaces it. Each
write is fenced by the term, so a manager that lost leadership can neither begin a command nor
record a result. A later attempt finds one of these:

- no record: it runs;
- a result: it gets that result;
- *started* in a term that is over: it is unknown how far the command got, so it is not run again,
  unless its author declared it idempotent;
- its id among those whose results were evicted (``mgr/command/evicted.py``): it is not run again;
- no record, but its client first sent it so long ago that the record may have expired: it is not
  run.

A request whose earlier attempts are no longer known is refused; it never counts as new.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

import msgspec

from mgr.clock import Clock
from mgr.command.answer import Answer
from mgr.command.evicted import EVICTED_MAX, EvictedRequests
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
    LeaseGrant,
    LeaseId,
    Modified,
    Operation,
    Put,
    Record,
)
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

LIFE_S: Final = 600
"""Minimum lifetime of a record: a client retries for seconds, an operator for minutes."""
LEASE_TTL_S: Final = LIFE_S + 60
"""Time to live of a lease. Records share a lease that is never renewed. After its first minute new
records get a new lease, so each lives for ``LIFE_S`` and at most a minute more. Nothing has to be
cleaned up or kept alive, and there is room for new ids every minute."""
AGE_MAX_S: Final = LIFE_S - 60
"""A request without a record that was first sent longer ago than this is not run: its record may
have expired. The margin covers clocks that run at different rates and the request's way here."""
ENTRIES_MAX: Final = 10_000
"""Limit of results kept. Above it the oldest are evicted early: a flood of commands must not fill
the memory of every manager."""
RESULTS_CHARS_MAX: Final = 16 << 20
"""Limit of all results together, in characters, for the same reason: many of them may be long."""
EVICTED_AT_ONCE: Final = 100
"""Results evicted in the transaction of one new one, at most: a transaction is limited. Many at
once, so that the record of their ids costs little for each."""
OUTPUT_BYTES_MAX: Final = 64 << 10
"""A longer output is not kept but replaced by a sentence: half a JSON document would be worse."""
LOCAL_OUTCOMES_MAX: Final = 1024
PRELOAD_AFTER_S: Final = 1.0
"""Delay before the results of earlier terms are counted: commands that wait come first."""
PRELOADED_AT_ONCE: Final = 200
"""Results counted before the event loop runs other tasks: about a millisecond."""

log = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started", tag_field="state"):
    """Record of a command that began in ``term``; ``digest`` identifies its request."""

    term: int
    digest: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done", tag_field="state"):
    """Record of a command that ended in ``term``; ``omitted`` bytes of output were not kept."""

    term: int
    digest: str
    retval: int
    stdout: str
    stderr: str
    omitted: int = 0


_DECODER: Final[msgspec.json.Decoder[Started | Done]] = msgspec.json.Decoder(Started | Done)


class RequestStore(Protocol):
    """The part of the store's interface that the journal uses."""

    async def get(self, key: str) -> Record | None:
        """Read linearizably."""
        ...

    async def grant(self, ttl_s: int) -> LeaseGrant:
        """Make a lease."""
        ...


@dataclass(frozen=True, slots=True)
class EarlierAttempts:
    """Result of the earlier attempts of a request. If both are unset, no attempt ever ran.

    Attributes:
        answer: The recorded result.
        unclear_term: An attempt began in this term, and how far it got is unknown.

    """

    answer: Answer | None = None
    unclear_term: int | None = None


class _Outcome(Enum):
    NEVER_RAN = auto()


NO_ATTEMPT: Final = EarlierAttempts()
"""No attempt ever ran, and none can run later."""


class Journal:
    """Journal of one term. It reads the mirror, which contains all writes of earlier terms.

    (A record of an earlier term was written before that term's leader key was deleted, so before
    this term's create revision. The mirror reaches that revision before the first command.)
    """

    def __init__(
        self,
        fenced: FencedWriter,
        keys: Keys,
        mirror: Mirror,
        store: RequestStore,
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
        # Outcomes of this worker's attempts whose write to the store failed or is uncertain.
        self._local_outcomes: OrderedDict[str, Answer | _Outcome] = OrderedDict()
        # Key and length of each result, oldest first, and the length of all together.
        self._finished: deque[tuple[str, int]] = deque()
        self._results_chars = 0
        self._evicted = EvictedRequests(mirror, keys, term=term)

    async def preload(self) -> None:
        """Grant the lease and count the existing results, so that commands do not wait for it.

        There may be thousands of results from earlier terms. They are only counted, for the limit
        of results; a retry of one of them is answered from the mirror.
        """
        with contextlib.suppress(StoreError):  # the first command reports it to its caller
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
        """Return the result of earlier attempts, without I/O: one or two lookups.

        ``age_s`` is the time in seconds since the client first sent the request.

        Raises:
            MayHaveRunError: Its result was evicted; its record cannot be read; or it has no
                record and is so old that the record may have expired. It must not run.
            InvalidArgumentError: The id was used for another command.

        """
        record = self._mirror.get(self._keys.request(request_id))
        return self._earlier_attempts(request_id, record, digest, age_s)

    async def begin(
        self,
        request_id: str,
        digest: str,
        *,
        idempotent: bool,
        age_s: float = 0.0,
        along: Sequence[Operation] = (),
    ) -> EarlierAttempts:
        """Record that ``request_id`` starts. The caller must not run it if there is an ``answer``.

        ``along`` is written in the same transaction.

        Raises:
            MayHaveRunError: An earlier attempt began and its result is unknown.
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
            # Of two attempts on the same record only one can write its start.
            unchanged: Compare = (
                Created(key, ABSENT) if record is None else Modified(key, record.mod_revision)
            )
            try:
                await self._write(key, started, when=(unchanged,), along=along)
            except ConflictError:
                record = await self._store.get(key)
                if record is None:
                    break  # deleted meanwhile, and the mirror does not show it yet
            except OutcomeUnknownError as error:
                # Recorded or not, this attempt does not run. It is noted as such, or else the
                # next attempt could find a start in the store and refuse to run.
                if earlier.unclear_term is None:
                    self._set_local_outcome(request_id, _Outcome.NEVER_RAN)
                raise StoreUnavailableError(
                    f"request {request_id} was not begun: {error}"
                ) from error
            else:
                self._local_outcomes.pop(request_id, None)
                return earlier
        raise ConflictError(f"request {request_id} is being begun by somebody else: retry")

    async def finish(
        self, request_id: str, digest: str, answer: Answer, *, along: Sequence[Operation] = ()
    ) -> bool:
        """Record the answer of ``request_id``; return whether the store has it.

        ``along`` is written in the same transaction.

        True also proves that the term was still valid. If the store does not have it, this worker
        keeps it in memory: a retry in the same term gets the answer.

        Raises:
            FencedError: The term is over: a later active may undo or repeat what ran.

        """
        key = self._keys.request(request_id)
        done = _encoded(_result(answer, self._term, digest))
        try:
            await self._write(
                key,
                done,
                evict=[old for old in self._surplus(len(done)) if old != key],
                along=along,
            )
        except StoreError as error:
            log.warning(
                "result of a command not recorded: a retry after a failover may be refused",
                extra={"request_id": request_id, "error": str(error)},
            )
            self._set_local_outcome(request_id, answer)
            return False
        self._finished.append((key, len(done)))
        self._results_chars += len(done)
        return True

    async def forget(self, request_id: str, *, along: Sequence[Operation] = ()) -> None:
        """Record that nothing ran: the next attempt may begin. Never raises ``StoreError``.

        ``along`` is written in the same transaction.
        """
        self._set_local_outcome(request_id, _Outcome.NEVER_RAN)
        try:
            await self._fenced.commit([Delete(self._keys.request(request_id)), *along])
        except StoreError as error:
            log.warning(
                "start of a command that did not run not removed: a retry may be refused",
                extra={"request_id": request_id, "error": str(error)},
            )

    def _surplus(self, size: int) -> list[str]:
        """Drop the oldest results from the list until ``size`` characters fit; return the keys."""
        has_room = (
            len(self._finished) < ENTRIES_MAX and self._results_chars + size <= RESULTS_CHARS_MAX
        )
        if has_room or self._evicted.full:
            return []
        # More room is made than needed, so that not every new result has to evict one.
        entries, chars = ENTRIES_MAX - EVICTED_AT_ONCE, RESULTS_CHARS_MAX - RESULTS_CHARS_MAX // 8
        surplus: list[str] = []
        while self._finished and len(surplus) < EVICTED_AT_ONCE:
            if len(self._finished) <= entries and self._results_chars + size <= chars:
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
        # A start without a result. If it is of this term, this worker made it and may have noted
        # its outcome although the store does not have it.
        if entry.term == self._term:
            known = self._local_outcomes.get(request_id)
            if isinstance(known, Answer):
                return EarlierAttempts(known)
            if known is _Outcome.NEVER_RAN:
                return NO_ATTEMPT
        return EarlierAttempts(unclear_term=entry.term)

    def _check_known(self, request_id: str, age_s: float) -> None:
        """Raise ``MayHaveRunError`` unless an id without a record is certainly new."""
        if request_id in self._evicted:
            why = "its result is no longer kept: too many commands came after it"
            raise MayHaveRunError(request_id, term=0, why=why, ran=True)
        if age_s > AGE_MAX_S:
            why = f"first sent {age_s:.0f} s ago; results are kept for {AGE_MAX_S} s; not run now"
            raise MayHaveRunError(request_id, term=0, why=why)

    def _set_local_outcome(self, request_id: str, outcome: Answer | _Outcome) -> None:
        self._local_outcomes[request_id] = outcome
        self._local_outcomes.move_to_end(request_id)
        # A retry of a dropped one gets "may have run", which is always safe.
        while len(self._local_outcomes) > LOCAL_OUTCOMES_MAX:
            self._local_outcomes.popitem(last=False)

    async def _write(
        self,
        key: str,
        value: str,
        *,
        when: Sequence[Compare] = (),
        evict: Sequence[str] = (),
        along: Sequence[Operation] = (),
    ) -> None:
        try:
            lease = await self._current_lease()
            await self._fenced.commit([*self._operations(lease, key, value, evict), *along], when)
        except LeaseExpiredError:
            # The lease was revoked by hand, or etcd was restored from a backup.
            self._lease = None
            lease = await self._current_lease()
            await self._fenced.commit([*self._operations(lease, key, value, evict), *along], when)

    def _operations(
        self, lease: LeaseId, key: str, value: str, evict: Sequence[str]
    ) -> list[Operation]:
        operations: list[Operation] = [Put(key, value, lease), *map(Delete, evict)]
        if evict:
            prefix = self._keys.requests
            ids = [old.removeprefix(prefix) for old in evict]
            operations.append(self._evicted.record(ids, lease))
        return operations

    async def _current_lease(self) -> LeaseId:
        async with self._lease_lock:
            # Measured before the request: the lease begins to run some time after this moment.
            asked_at_s = self._clock.now()
            if self._lease is None or asked_at_s >= self._lease_fresh_until_s:
                granted = await self._store.grant(LEASE_TTL_S)
                self._lease = granted.lease
                self._lease_fresh_until_s = asked_at_s + granted.ttl_s - LIFE_S
            return self._lease


def _result(answer: Answer, term: int, digest: str) -> Done:
    size = len(answer.stdout.encode()) + len(answer.stderr.encode())
    fits = size <= OUTPUT_BYTES_MAX
    return Done(
        term=term,
        digest=digest,
        retval=answer.retval,
        stdout=answer.stdout if fits else "",
        stderr=answer.stderr if fits else "",
        omitted=0 if fits else size,
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
        log.warning(
            "unreadable record of a request", extra={"key": record.key, "error": str(error)}
        )
        return None
