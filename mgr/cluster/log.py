"""The cluster log: events of the cluster, one line each, for operators to follow.

The active manager keeps the last ``CAPACITY`` lines in memory, numbered, and stores them in etcd
(``mgr.active.cluster_log_store``). Only the event loop uses
the log. A reader that is too slow loses lines and receives their number (``LinesDropped``), so a
slow terminal never blocks the manager or fills its memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Self

from mgr.clock import utc_now
from mgr.text import one_line, shortened

CAPACITY: Final = 1000
"""Lines kept for later readers."""
QUEUE_MAX: Final = 1000
"""Limit of lines queued for one reader; above it the oldest are dropped and counted."""
LINE_CHARS_MAX: Final = 4096
"""Limit of a line; a longer one is cut."""
DEFAULT_CHANNEL: Final = "cluster"
AUDIT_CHANNEL: Final = "audit"


class Priority(IntEnum):
    """Priority of a line. The numbers are those that modules pass to ``cluster_log``."""

    DEBUG = 0
    INFO = 1
    SECURITY = 2
    WARNING = 3
    ERROR = 4

    @property
    def tag(self) -> str:
        """The three letters that Ceph prints: ``[INF]``."""
        return {0: "DBG", 1: "INF", 2: "SEC", 3: "WRN", 4: "ERR"}[self.value]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``sequence`` grows by one and restarts with every ``term``."""

    sequence: int
    at: datetime
    name: str
    channel: str
    priority: Priority
    message: str
    term: int = 0

    def __str__(self) -> str:
        """Return the line as ``mgrctl -w`` prints it."""
        return f"{self.at.isoformat()} {self.name} [{self.priority.tag}] {self.message}"


@dataclass(frozen=True, slots=True)
class LinesDropped:
    """Stands for ``count`` lines that a reader lost at this place because it was too slow."""

    count: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects lines with priority ``lowest`` or above, on ``channel`` or (empty) on any."""

    lowest: Priority = Priority.DEBUG
    channel: str = ""

    def matches(self, entry: Entry) -> bool:
        """Return whether ``entry`` is selected."""
        return entry.priority >= self.lowest and self.channel in {"", entry.channel}


class ClusterLog:
    """The last lines, and the readers that follow them."""

    def __init__(
        self,
        *,
        capacity: int = CAPACITY,
        now: Callable[[], datetime] = utc_now,
        term: int = 0,
    ) -> None:
        """Keep ``capacity`` lines; stamp them with ``now`` and ``term``."""
        self._term = term
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._now = now
        self._sequence = 0
        self._readers: set[Subscription] = set()
        self._listeners: set[Callable[[Entry], None]] = set()

    def add(
        self,
        message: str,
        *,
        name: str,
        priority: Priority = Priority.INFO,
        channel: str = DEFAULT_CHANNEL,
    ) -> Entry:
        """Add a line of the author ``name`` (``mgr.a``, ``client.admin``); return its entry."""
        self._sequence += 1
        # A control character could command an operator's terminal, a line end forge another line;
        # what UTF-8 cannot encode would end the streams of all readers.
        text = shortened(message, LINE_CHARS_MAX)
        author, channel = one_line(name), one_line(channel)
        entry = Entry(self._sequence, self._now(), author, channel, priority, text, self._term)
        self._entries.append(entry)
        for reader in self._readers:
            reader.offer(entry)
        for listener in tuple(self._listeners):
            listener(entry)
        return entry

    def restore(self, entries: Iterable[Entry]) -> None:
        """Put lines of earlier terms, oldest first, before those of this one."""
        present = list(self._entries)
        self._entries.clear()
        self._entries.extend(entries)
        self._entries.extend(present)

    def last(self, count: int, wanted: Filter = Filter()) -> tuple[Entry, ...]:
        """Return the last ``count`` selected lines, oldest first."""
        found = [entry for entry in self._entries if wanted.matches(entry)]
        return tuple(found[-count:]) if count > 0 else ()

    def subscribe(
        self,
        wanted: Filter = Filter(),
        *,
        past: int = 0,
        queue_max: int = QUEUE_MAX,
    ) -> Subscription:
        """Follow new lines; ``.past`` has the lines before, none missing and none twice."""
        reader = Subscription(
            self.last(past, wanted), wanted, queue_max, forget=self._readers.discard
        )
        self._readers.add(reader)
        return reader

    def listen(self, listener: Callable[[Entry], None]) -> Callable[[], None]:
        """Call ``listener`` on the loop with each line; it must not block.

        Returns a function that ends this.
        """
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)


class Subscription:
    """One reader of the log. Close it, or use it as a context manager."""

    def __init__(
        self,
        past: tuple[Entry, ...],
        wanted: Filter,
        queue_max: int,
        *,
        forget: Callable[[Subscription], None],
    ) -> None:
        """Made by ``ClusterLog.subscribe``."""
        self.past = past
        self._filter = wanted
        self._queue: deque[Entry] = deque(maxlen=queue_max)
        self._dropped = 0
        self._ready = asyncio.Event()
        self._forget = forget

    def offer(self, entry: Entry) -> None:
        """Queue ``entry`` if it is selected; a full queue drops its oldest line."""
        if not self._filter.matches(entry):
            return
        if len(self._queue) == self._queue.maxlen:
            self._dropped += 1
        self._queue.append(entry)
        self._ready.set()

    async def next(self) -> Entry | LinesDropped:
        """Wait for the next line, or for the number of lines dropped before it."""
        await self._ready.wait()
        if self._dropped:
            missing, self._dropped = LinesDropped(self._dropped), 0
            return missing
        entry = self._queue.popleft()
        if not self._queue:
            self._ready.clear()
        return entry

    def close(self) -> None:
        """Stop following."""
        self._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
