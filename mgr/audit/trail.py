"""The audit of one term: makes a record of each change and refusal, and keeps it.

A command's record is written in the transactions that its journal makes anyway: as *started* before
it begins, with its outcome before it is answered. So nothing that changes something is acknowledged
without its record, and the record costs no round trip. A refusal changes nothing and is answered at
once; its record follows within a second, and those of one caller become one record.

Records are numbered within their term. An outcome that could not be written is tried again in the
background; until then the record says ``started``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.audit.author import author_of, kind_of
from mgr.audit.masking import shown_arguments
from mgr.audit.record import AuditRecord, Outcome, encode
from mgr.audit.refusals import OTHERS, RefusalCounter, Refused
from mgr.audit.ring import Ring
from mgr.clock import Clock, timestamp
from mgr.errors import OutcomeUnknownError, StoreError, StoreUnavailableError, TermLostError
from mgr.store.api import FencedWriter, Operation, Put, Reader
from mgr.store.keys import Keys
from mgr.text import encodable
from mgr.tracing import trace_id
from mgr.waiting import wait

ROUND_S: Final = 1.0
"""Longest time until a refusal is stored, and interval of writes in the background."""
REFUSALS_AT_ONCE: Final = 20
"""Records of refusals written in one round: refusals cannot load the store."""
UNWRITTEN_MAX: Final = 1000
"""Outcomes that wait to be written; the oldest are dropped, and their records say ``started``."""
DETAIL_MAX: Final = 300

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """Bounds of the rings; characters are those of all values together."""

    changes: int
    change_chars: int
    refusals: int = 1000
    refusal_chars: int = 1 << 20


class Deliver(Protocol):
    """Delivers records to files and to syslog."""

    def check(self) -> None:
        """Raise if a required sink does not keep records now."""
        ...

    async def deliver(self, line: str) -> None:
        """Deliver one record; wait until every required sink has it."""
        ...

    def offer(self, line: str) -> None:
        """Deliver one record without waiting."""
        ...


class NoSinks:
    """Delivers to nobody: the rings in etcd are all there is."""

    def check(self) -> None:
        """Return at once."""

    async def deliver(self, line: str) -> None:
        """Return at once."""

    def offer(self, line: str) -> None:
        """Do nothing."""


class Entry:
    """The record of one change, from its start to its outcome."""

    def __init__(self, key: str, record: AuditRecord, ring: Ring) -> None:
        """Made by ``AuditTrail.begin``."""
        self._key = key
        self._ring = ring
        self.record = record

    def started(self) -> Put:
        """Return the write of the record before the change begins."""
        value = encode(self.record)
        self._ring.added(len(value))
        return Put(self._key, value)

    def complete(self) -> Put:
        """Return the write of the record of a change that this very transaction makes."""
        operation = self.ended("ok", retval=0)
        self._ring.added(len(operation.value))
        return operation

    def ended(self, outcome: Outcome, *, retval: int | None = None, detail: str = "") -> Put:
        """Return the write of the record with its outcome."""
        self.record = msgspec.structs.replace(
            self.record, outcome=outcome, retval=retval, detail=encodable(detail[:DETAIL_MAX])
        )
        return Put(self._key, encode(self.record))

    def answered(self, retval: int, text: str) -> Put:
        """Return the write of the record of a command that answered ``retval``."""
        if retval >= 0:
            return self.ended("ok", retval=retval)
        return self.ended("failed", retval=retval, detail=text)


class AuditTrail:
    """Makes and keeps the records of one term. Used on the event loop only."""

    def __init__(  # noqa: PLR0913 - what it is made of, each by name
        self,
        *,
        keys: Keys,
        mirror: Reader,
        writer: FencedWriter,
        manager: str,
        clock: Clock,
        limits: Callable[[], AuditLimits],
        is_secret: Callable[[str], bool],
        sinks: Deliver | None = None,
    ) -> None:
        """Write by ``writer`` on behalf of ``manager``.

        ``is_secret`` returns whether the option of a name is marked as secret.
        """
        self._keys = keys
        self._writer = writer
        self._manager = manager
        self._clock = clock
        self._limits = limits
        self._is_secret = is_secret
        self._sequence = 0
        self._changes = Ring(keys.audited_changes, mirror, writer)
        self._refused = Ring(keys.audited_refusals, mirror, writer)
        self._refusals = RefusalCounter(clock)
        self._unwritten: deque[Operation] = deque(maxlen=UNWRITTEN_MAX)
        self._wake = asyncio.Event()
        self.sinks: Final[Deliver] = sinks or NoSinks()

    # -- changes --------------------------------------------------------------------------------

    def begin(
        self,
        caller: Caller,
        command: str,
        arguments: Mapping[str, Any],
        *,
        request_id: str = "",
        input_bytes: int = 0,
    ) -> Entry:
        """Make the record of a change that is about to begin; the caller writes it."""
        sequence = self._next()
        record = AuditRecord(
            term=self._writer.term,
            sequence=sequence,
            at=timestamp(),
            manager=self._manager,
            command=command,
            outcome="started",
            who=author_of(caller),
            kind=kind_of(caller),
            address=caller.address,
            arguments=shown_arguments(command, arguments, self._is_secret),
            input_bytes=input_bytes,
            request_id=request_id,
            trace_id=trace_id(),
        )
        key = self._keys.audited_change(self._writer.term, sequence)
        return Entry(key, record, self._changes)

    async def record(self, caller: Caller, command: str, arguments: Mapping[str, Any]) -> None:
        """Record a change of which nothing is written here, before it is made.

        Raises:
            StoreError: It is not recorded. The change must not be made.
            AuditUnavailableError: A required sink did not keep the record.

        """
        entry = self.begin(caller, command, arguments)
        await self.write(entry.complete())
        await self.deliver(entry)

    def adopt(self, record: AuditRecord) -> Put:
        """Return the write of a record that was made before this term, under a number of it."""
        sequence = self._next()
        adopted = msgspec.structs.replace(
            record, term=self._writer.term, sequence=sequence, unled=True
        )
        value = encode(adopted)
        self._changes.added(len(value))
        self.sinks.offer(value)
        return Put(self._keys.audited_change(self._writer.term, sequence), value)

    async def write(self, operation: Put) -> None:
        """Write the record of a change that is about to begin, in a transaction of its own.

        Raises:
            StoreUnavailableError: It may not be stored. The change must not begin.
            StoreError: As raised by writes.

        """
        try:
            await self._writer.commit([operation])
        except OutcomeUnknownError as error:
            raise StoreUnavailableError(f"not begun: {error}") from error

    async def write_outcome(self, operation: Put) -> None:
        """Write an outcome; if the store does not take it now, try again in the background."""
        try:
            await self._writer.commit([operation])
        except TermLostError:
            raise
        except StoreError:
            self.write_later(operation)

    def write_later(self, operation: Put) -> None:
        """Write an outcome in the background."""
        self._unwritten.append(operation)
        self._wake.set()

    async def deliver(self, entry: Entry) -> None:
        """Deliver the record to the sinks; wait until every required one has it.

        Raises:
            AuditUnavailableError: A required sink did not keep it in time.

        """
        if self.delivers:
            await self.sinks.deliver(encode(entry.record))

    @property
    def delivers(self) -> bool:
        """Whether records go anywhere beside the rings."""
        return not isinstance(self.sinks, NoSinks)

    # -- refusals -------------------------------------------------------------------------------

    def refused(self, caller: Caller, request: AccessRequest) -> None:
        """Count a refusal; it is stored within ``ROUND_S``."""
        key = (author_of(caller), kind_of(caller), caller.address)
        now = timestamp()
        refused = self._refusals.find(key)
        if refused is None:
            refused = Refused(
                caller=self._refusals.key(key),
                place=self._next(),
                began_s=self._clock.now(),
                at=now,
                command=encodable(request.command),
                arguments=shown_arguments(
                    request.command, request.arguments or {}, self._is_secret
                ),
                detail=f"needs {request.perm}" if request.perm else "not authenticated",
            )
            self._refusals.open(refused)
        refused.add(encodable(request.command), now)
        self._wake.set()

    def _record_of(self, refused: Refused) -> AuditRecord:
        who, kind, address = refused.caller
        return AuditRecord(
            term=self._writer.term,
            sequence=refused.place,
            at=refused.at,
            manager=self._manager,
            command=refused.command if who != OTHERS else OTHERS,
            outcome="refused",
            who=who,
            kind=kind,
            address=address,
            arguments=refused.arguments if who != OTHERS else {},
            detail=refused.detail,
            count=refused.count,
            last=refused.last,
            commands=dict(refused.commands),
        )

    # -- in the background ----------------------------------------------------------------------

    async def run(self) -> None:
        """Write refusals and outcomes and shorten the rings, for as long as the term lasts."""
        self._changes.load()
        self._refused.load()
        while True:
            await wait(self._wake, ROUND_S)
            try:
                await self.flush()
            except TermLostError:
                return
            except StoreError as error:
                log.warning("audit records not written, retrying", extra={"error": str(error)})
            # A round a second at most, however many refusals there are.
            await asyncio.sleep(ROUND_S)

    async def flush(self) -> None:
        """Write what waits, once.

        Raises:
            StoreError: It waits on.

        """
        self._wake.clear()
        while self._unwritten:
            operation = self._unwritten[0]
            await self._writer.commit([operation])
            if self._unwritten and self._unwritten[0] is operation:
                self._unwritten.popleft()
        refused = self._refusals.unstored(REFUSALS_AT_ONCE)
        if refused:
            await self._write_refusals(refused)
        limits = self._limits()
        await self._changes.trim(limits.changes, limits.change_chars)
        await self._refused.trim(limits.refusals, limits.refusal_chars)

    async def _write_refusals(self, refused: list[Refused]) -> None:
        records = [self._record_of(each) for each in refused]
        for each in refused:
            each.changed = False
        puts = [
            Put(self._keys.audited_refusal(record.term, record.sequence), encode(record))
            for record in records
        ]
        try:
            await self._writer.commit(puts)
        except StoreError:
            for each in refused:
                each.changed = True
            raise
        for each, put in zip(refused, puts, strict=True):
            if not each.stored:
                each.stored = True
                self._refused.added(len(put.value))
            self.sinks.offer(put.value)
        if len(refused) == REFUSALS_AT_ONCE:
            self._wake.set()

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
