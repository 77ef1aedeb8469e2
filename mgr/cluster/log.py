"""The cluster log: what happened in the cluster, in one line each, for operators to follow.

It lives in the active manager's memory: the last ``CAPACITY`` lines, numbered. Only the event
loop touches it. A reader that does not keep up loses lines and is told how many: a slow
terminal never makes the manager wait or grow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Self

from mgr.clock import utc_now

CAPACITY: Final = 1000
"""Lines kept for whoever asks later."""
QUEUE_MAX: Final = 1000
"""Lines that wait for one reader; the oldest make room and are counted."""
DEFAULT_CHANNEL: Final = "cluster"
AUDIT_CHANNEL: Final = "audit"


class Priority(IntEnum):
    """How grave a line is. The numbers are those that modules pass to ``cluster_log``."""

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
    """One line. ``sequence`` grows by one and begins anew with every term."""

    sequence: int
    at: datetime
    name: str
    channel: str
    priority: Priority
    message: str

    def __str__(self) -> str:
        """As ``mgrctl -w`` prints it."""
        return f"{self.at.isoformat()} {self.name} [{self.priority.tag}] {self.message}"


@dataclass(frozen=True, slots=True)
class LinesDropped:
    """This many lines stood here and were lost to this reader: it was too slow."""

    count: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines a reader wants: of ``lowest`` priority or above, on ``channel`` or on any."""

    lowest: Priority = Priority.DEBUG
    channel: str = ""

    def matches(self, entry: Entry) -> bool:
        """Whether ``entry`` is wanted."""
        return entry.priority >= self.lowest and self.channel in {"", entry.channel}


class ClusterLog:
    """The last lines, and everyone who follows them."""

    def __init__(self, *, capacity: int = CAPACITY, now: Callable[[], datetime] = utc_now) -> None:
        """Keep ``capacity`` lines; stamp them with ``now``."""
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
        """Write a line that ``name`` (``mgr.a``, ``client.admin``) says; the line as kept."""
        self._sequence += 1
        # A line that cannot be sent would end the stream of everybody who follows.
        message = message.encode(errors="backslashreplace").decode()
        entry = Entry(self._sequence, self._now(), name, channel, priority, message)
        self._entries.append(entry)
        for reader in self._readers:
            reader.offer(entry)
        for listener in tuple(self._listeners):
            listener(entry)
        return entry

    def last(self, count: int, wanted: Filter = Filter()) -> tuple[Entry, ...]:
        """The last ``count`` wanted lines, oldest first."""
        found = [entry for entry in self._entries if wanted.matches(entry)]
        return tuple(found[-count:]) if count > 0 else ()

    def subscribe(
        self,
        wanted: Filter = Filter(),
        *,
        past: int = 0,
        queue_max: int = QUEUE_MAX,
    ) -> Subscription:
        """Follow from here on; ``.past`` holds the lines before, none missing, none twice."""
        reader = Subscription(
            self.last(past, wanted), wanted, queue_max, forget=self._readers.discard
        )
        self._readers.add(reader)
        return reader

    def listen(self, listener: Callable[[Entry], None]) -> Callable[[], None]:
        """Call ``listener`` on the loop with every line; it must not block. Returns the undo."""
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
        """Queue ``entry`` if it is wanted; the oldest waiting line makes room."""
        if not self._filter.matches(entry):
            return
        if len(self._queue) == self._queue.maxlen:
            self._dropped += 1
        self._queue.append(entry)
        self._ready.set()

    async def next(self) -> Entry | LinesDropped:
        """Wait for the next line, or for the news that lines are missing before it."""
        await self._ready.wait()
        if self._dropped:
            missing, self._dropped = LinesDropped(self._dropped), 0
            return missing
        entry = self._queue.popleft()
        if not self._queue:
            self._ready.clear()
        return entry

    def close(self) -> None:
        """Follow no longer."""
        self._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
