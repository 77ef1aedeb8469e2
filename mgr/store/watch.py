"""Follows a prefix in etcd (list, then watch) over reconnects, lost endpoints and compaction.

Theory of operation
-------------------
``position`` is the newest revision reported to the owner. Only a listing and events advance it. The
revision in the answer that opens a stream does not (events replayed after it would be dropped), nor
do progress answers (before etcd 3.5.8 they could overtake events). A stream starts *at* the
position, not after it, and events that are already known are dropped: etcd does not answer progress
requests while its own revision is below the start of the stream.

An open stream need not work: a frozen member, or one cut off from its leader, keeps it open and
sends nothing. So every stream requires a leader, requests progress about once a second, and is
replaced by one on another endpoint after ``SILENCE_S`` without a message.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Final

import grpc

from mgr.clock import Clock
from mgr.errors import MgrError
from mgr.store import etcd3_stubs
from mgr.store.api import (
    Changed,
    Current,
    FeedEvent,
    Interrupted,
    LeaseId,
    Listed,
    Record,
    Revision,
    Store,
)
from mgr.store.channel import FailoverChannel, Stream
from mgr.store.error_classes import ErrorClass, classify

SILENCE_S: Final = 3.0
FIRST_PROGRESS_S: Final = 0.15
"""Etcd answers progress requests only of synchronised streams, and synchronises every 0.1 s."""
PROGRESS_EVERY_S: Final = 0.9
FRESH_S: Final = 1.0
"""A progress answer proves nothing if its request is older than this."""
OPEN_WITHIN_S: Final = 2.0
BACK_OFF_S: Final = 0.05
BACK_OFF_MAX_S: Final = 1.0

WATCH: Final = etcd3_stubs.method("Watch", "Watch")
NOTHING_YET: Final = Revision(0)
TURN_EVENTS_MAX: Final = 500
"""Most events that are read before other tasks of the loop get a turn: see ``TURN_CHANGES_MAX``."""
DELETED: Final = 1
"""``Event.type`` of a deletion."""


class PrefixFeed:
    """One feed of one prefix."""

    def __init__(self, store: Store, channel: FailoverChannel, prefix: str, clock: Clock) -> None:
        self._store = store
        self._channel = channel
        self._prefix = prefix
        self._clock = clock
        self._position = NOTHING_YET
        self._restores = channel.identity.restores
        self._failures = 0

    async def events(self) -> AsyncGenerator[FeedEvent, None]:
        """See ``Store.follow``."""
        while not self._channel.closed:
            try:
                self._forget_other_history()
                if self._position == NOTHING_YET:
                    asked_at_s = self._clock.now()
                    listing = await self._store.list(self._prefix)
                    self._position = listing.revision
                    yield Listed(listing.records, listing.revision, asked_at_s)
                stream = _WatchStream(self._prefix, self._position, self._clock)
                await stream.open(self._channel)
                try:
                    while True:
                        event = await stream.read()
                        if event is not None:
                            self._position = event.revision
                            if isinstance(event, Current):
                                self._failures = 0
                            yield event
                finally:
                    stream.close()
            except _CompactedError:
                self._position = NOTHING_YET
                continue
            except _SetBackError as error:
                self._position = NOTHING_YET
                why = str(error)
            except (MgrError, _BrokenError) as error:
                why = str(error)
            if not self._channel.closed:
                yield Interrupted(why)
                await asyncio.sleep(self._back_off_s())

    def _forget_other_history(self) -> None:
        """Start with a new listing if etcd was restored: the old position means nothing then."""
        before, self._restores = self._restores, self._channel.identity.restores
        if before != self._restores:
            self._position = NOTHING_YET

    def _back_off_s(self) -> float:
        longest = min(BACK_OFF_S * 2.0**self._failures, BACK_OFF_MAX_S)
        self._failures = min(self._failures + 1, 10)
        # Jitter, so that not all managers reconnect at once and overload an etcd that comes back.
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret


class _BrokenError(Exception):
    """The stream cannot be used any more."""


class _CompactedError(_BrokenError):
    """Etcd has compacted the events after the position."""


class _SetBackError(_BrokenError):
    """Etcd's revision is below the position: a lagging member, or a restored backup."""


class _WatchStream:
    """One stream, from its opening to its end."""

    def __init__(self, prefix: str, position: Revision, clock: Clock) -> None:
        self._prefix = prefix.encode()
        self._position = position
        self._clock = clock
        self._stream: Stream
        self._last_message_at = clock.now()
        self._silence_timer: asyncio.TimerHandle | None = None
        self._silent = False
        self._progress_asked_at: float | None = None
        self._fragments: list[Any] = []

    async def open(self, channel: FailoverChannel) -> None:
        """Open the stream; raises ``StoreUnavailableError`` if no endpoint can be reached."""
        self._stream = await channel.stream(
            WATCH,
            self._requests(),
            purpose=f"watch {self._prefix.decode()!r}",
            timeout_s=OPEN_WITHIN_S,
        )
        self._restart_silence_timer()

    async def read(self) -> Changed | Current | None:
        """Return the next event, or None for a message that makes no event.

        Raises:
            _BrokenError: The stream cannot be used any more; open another one.

        """
        answer = await self._next()
        self._restart_silence_timer()
        if answer.canceled:
            self._give_up(answer)
        if answer.created:
            if answer.header.revision < self._position:
                raise _SetBackError(
                    f"etcd at {self._stream.address} is at revision {answer.header.revision}; "
                    f"{self._position} was seen before"
                )
            return None
        if answer.events:
            self._fragments += answer.events
            return None if answer.fragment else await self._changed()
        return self._current()

    def close(self) -> None:
        """End the stream, if it was opened."""
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        self._stream.close()

    async def _requests(self) -> AsyncGenerator[Any, None]:
        """Yield the requests of the stream to etcd. Runs in a task of gRPC."""
        create = {
            "key": self._prefix,
            "range_end": range_end(self._prefix),
            "start_revision": self._position,
            "fragment": True,
        }
        yield WATCH.request(create_request=create)
        await asyncio.sleep(FIRST_PROGRESS_S)
        while True:
            # The time of the oldest unanswered request counts: answers do not show which request
            # they belong to, and any answer is newer than the oldest one.
            if self._progress_asked_at is None:
                self._progress_asked_at = self._clock.now()
            yield WATCH.request(progress_request={})
            await asyncio.sleep(PROGRESS_EVERY_S)

    async def _next(self) -> Any:
        try:
            answer = await self._stream.read()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The stream was cancelled, not this task: by the timer, or because its endpoint failed.
            why = "was silent" if self._silent else "failed another request"
            raise _BrokenError(f"etcd at {self._stream.address} {why}") from None
        except grpc.aio.AioRpcError as error:
            self._note_failure(classify(error.code(), error.details() or ""))
            raise _BrokenError(f"{error.details()} (etcd at {self._stream.address})") from error
        if answer is grpc.aio.EOF:
            raise _BrokenError(f"etcd at {self._stream.address} ended the stream")
        if self._clock.now() - self._last_message_at > SILENCE_S:
            # This process was suspended, and the answer was buffered meanwhile. The timer did not
            # fire, because the loop's clock stands still while the machine is suspended.
            raise _BrokenError(f"no message for {self._clock.now() - self._last_message_at:.1f} s")
        return answer

    def _restart_silence_timer(self) -> None:
        self._last_message_at = self._clock.now()
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        self._silence_timer = asyncio.get_running_loop().call_later(SILENCE_S, self._on_silence)

    def _on_silence(self) -> None:
        self._silent = True
        self._stream.mark_failed()

    def _give_up(self, answer: Any) -> None:
        if answer.compact_revision:
            raise _CompactedError(f"revisions below {answer.compact_revision} are compacted")
        reason = answer.cancel_reason or "no reason given"
        self._note_failure(classify(grpc.StatusCode.OK, reason))
        raise _BrokenError(f"etcd at {self._stream.address} cancelled the watch: {reason}")

    def _note_failure(self, error_class: ErrorClass) -> None:
        """Make the next stream use another token or another endpoint."""
        if error_class is ErrorClass.LOGIN:
            self._stream.forget_token()
        elif error_class in (ErrorClass.UNCLEAR, ErrorClass.UNDONE):
            self._stream.mark_failed()

    async def _changed(self) -> Changed | None:
        events, self._fragments = self._fragments, []
        last: dict[str, Record | None] = {}
        for start in range(0, len(events), TURN_EVENTS_MAX):
            if start:
                await asyncio.sleep(0)
            turn = events[start : start + TURN_EVENTS_MAX]
            _merge(last, (event for event in turn if event.kv.mod_revision > self._position))
        changed = _changed_of(last, Revision(events[-1].kv.mod_revision))
        if changed is not None:
            self._position = changed.revision
            self._stream.note_revision(changed.revision)
        return changed

    def _current(self) -> Current | None:
        asked_at, self._progress_asked_at = self._progress_asked_at, None
        if asked_at is None or self._clock.now() - asked_at > FRESH_S:
            return None
        return Current(self._position)


def merge_events(events: Sequence[Any]) -> Changed | None:
    """Merge ``events`` into one change with the last state of each key; None if there are none."""
    last: dict[str, Record | None] = {}
    _merge(last, events)
    return _changed_of(last, Revision(events[-1].kv.mod_revision)) if last else None


def _merge(last: dict[str, Record | None], events: Iterable[Any]) -> None:
    """Put the last state of each key in ``events`` into ``last``; None if it was deleted."""
    for event in events:
        record = record_of(event.kv)
        last[record.key] = None if event.type == DELETED else record


def _changed_of(last: Mapping[str, Record | None], revision: Revision) -> Changed | None:
    if not last:
        return None
    return Changed(
        put=tuple(record for record in last.values() if record is not None),
        deleted=tuple(key for key, record in last.items() if record is None),
        revision=revision,
    )


def record_of(kv: Any) -> Record:
    """Return one of etcd's key-values as a record.

    Bytes that are not UTF-8, which another client wrote, become lone surrogates: reading them
    never fails, and writing them is refused.
    """
    return Record(
        key=kv.key.decode("utf-8", "surrogateescape"),
        value=kv.value.decode("utf-8", "surrogateescape"),
        create_revision=Revision(kv.create_revision),
        mod_revision=Revision(kv.mod_revision),
        lease=LeaseId(kv.lease),
    )


def range_end(prefix: bytes) -> bytes:
    r"""Return the first key after all keys that begin with ``prefix``; ``\0`` if none exists."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\0"
