"""Stores the lines of the cluster log, so that they survive a failover.

A line is shown at once and stored afterwards: no line waits for etcd. The first line after a pause
is stored immediately, further ones within a second, all that came meanwhile in one write. So the
log costs at most one write a second, and a crash loses at most the lines of its last second
(docs/adr/0054).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime
from typing import Final

import msgspec

from mgr.cluster.log import CAPACITY, ClusterLog, Entry, Priority
from mgr.errors import StoreError, TermLostError
from mgr.store.api import UNREADABLE, Delete, Operation, Put, Reader
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys

WRITE_EVERY_S: Final = 1.0
BATCH_CHARS_MAX: Final = 256 << 10
"""Size of one write; the rest follows a second later."""
STORED_CHARS_MAX: Final = 2 << 20
"""Size of everything that is stored."""
DELETED_AT_ONCE: Final = 16

log = logging.getLogger(__name__)


class StoredLine(msgspec.Struct, frozen=True, array_like=True):
    """One line, as a list of its fields."""

    term: int
    sequence: int
    at: datetime
    name: str
    channel: str
    priority: int
    message: str

    @classmethod
    def of(cls, entry: Entry) -> StoredLine:
        """Make the stored form of ``entry``."""
        return cls(
            entry.term,
            entry.sequence,
            entry.at,
            entry.name,
            entry.channel,
            int(entry.priority),
            entry.message,
        )

    def entry(self) -> Entry:
        """Return the line as the log has it."""
        priority = Priority(min(max(self.priority, Priority.DEBUG), Priority.ERROR))
        fields = self.sequence, self.at, self.name, self.channel, priority, self.message
        return Entry(*fields, term=self.term)


class _Batch(msgspec.Struct, frozen=True):
    """A stored key and what it holds."""

    key: str
    lines: int
    chars: int


class ClusterLogStore:
    """Restores the log of earlier terms and stores that of this one."""

    def __init__(
        self, cluster_log: ClusterLog, mirror: Reader, keys: Keys, fenced: FencedStore
    ) -> None:
        """Store the lines of ``cluster_log``."""
        self._log = cluster_log
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._unwritten: deque[Entry] = deque(maxlen=CAPACITY)
        self._has_unwritten = asyncio.Event()
        self._stored: deque[_Batch] = deque()
        self._number = 0
        self._writing = asyncio.Lock()
        self._closed = False

    def restore(self) -> None:
        """Show the lines of earlier terms, and follow the log from now on."""
        lines: list[StoredLine] = []
        for key, record in self._mirror.list(self._keys.log_lines).items():
            try:
                batch = msgspec.json.decode(record.value, type=list[StoredLine])
            except UNREADABLE as error:
                log.warning("unreadable log lines", extra={"key": key, "error": str(error)})
                batch = []
            self._stored.append(_Batch(key, len(batch), len(record.value)))
            lines += batch
        self._log.restore([line.entry() for line in lines[-CAPACITY:]])
        self._log.listen(self._note)

    async def run(self) -> None:
        """Store new lines for as long as the term lasts."""
        while not self._closed:
            await self._has_unwritten.wait()
            try:
                await self.flush()
            except TermLostError:
                return
            except StoreError as error:
                # Not logged to the cluster log: that would be one more line to store.
                log.warning("log lines not stored, retrying", extra={"error": str(error)})
            await asyncio.sleep(WRITE_EVERY_S)

    def close(self) -> None:
        """Store no more lines."""
        self._closed = True

    def _note(self, entry: Entry) -> None:
        self._unwritten.append(entry)
        self._has_unwritten.set()

    async def flush(self) -> None:
        """Store the lines that wait, in one write.

        Raises:
            StoreError, TermLostError: They are not stored.

        """
        async with self._writing:
            batch, value = self._next_batch()
            if not batch:
                self._has_unwritten.clear()
                return
            self._number += 1
            key = self._keys.log_line(self._fenced.term, self._number)
            old = self._too_old(len(batch), len(value))
            operations: list[Operation] = [Put(key, value)]
            operations += [Delete(each.key) for each in old]
            await self._fenced.commit(operations)
            for _ in old:
                self._stored.popleft()
            self._stored.append(_Batch(key, len(batch), len(value)))
            written = set(map(id, batch))
            while self._unwritten and id(self._unwritten[0]) in written:
                self._unwritten.popleft()
            if not self._unwritten:
                self._has_unwritten.clear()

    def _next_batch(self) -> tuple[list[Entry], str]:
        batch: list[Entry] = []
        chars = 0
        for entry in self._unwritten:
            chars += len(entry.message) + len(entry.name) + len(entry.channel) + 64
            if batch and chars > BATCH_CHARS_MAX:
                break
            batch.append(entry)
        return batch, msgspec.json.encode([StoredLine.of(entry) for entry in batch]).decode()

    def _too_old(self, lines: int, chars: int) -> list[_Batch]:
        """Return the oldest batches that are not needed beside ``lines`` new ones."""
        lines += sum(batch.lines for batch in self._stored)
        chars += sum(batch.chars for batch in self._stored)
        old: list[_Batch] = []
        for batch in self._stored:
            surplus = lines - batch.lines >= CAPACITY or chars > STORED_CHARS_MAX
            if not surplus or len(old) == DELETED_AT_ONCE:
                break
            old.append(batch)
            lines -= batch.lines
            chars -= batch.chars
        return old
