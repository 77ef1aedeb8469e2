"""Reads counters of daemons in a module's process, from memory that the worker writes.

The worker is asked once for each daemon where its counters are, or for all at once if a module
reads many. For a daemon without counters it is asked again once one has declared some. Reading is
then what it is in the worker: ``mgr.cluster.counters.Ring``.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Callable
from typing import Any, Final

from mgr.cluster.counters import HEADER, ROWS, Counter, Kind, Place, Ring, Schema, Unit
from mgr.cluster.frozen import freeze

ROW_PARTS: Final = ("rows", "before")
"""What an entry of ``get_counter_rows`` has for each daemon."""
SINGLE_MAX: Final = 8
"""Daemons that are asked for one by one before all are asked for."""
KNOWN_SHARE: Final = 10
"""All are asked for again once so many are not known: one in ten of those that are."""
ABSENT_MAX: Final = 4096
"""Names of daemons without counters that are remembered."""


class SharedRing(Ring):
    """The ring of one daemon in memory that another process writes."""

    __slots__ = ("_header", "_owner")

    def __init__(
        self,
        schema: Schema,
        block: memoryview,
        owner: int,
        short: tuple[tuple[int, int], ...],
    ) -> None:
        """Read the ring of ``owner`` in ``block``. What is written there is read at once."""
        self.schema = schema  # type: ignore[misc]  # the base does not know the memory
        self.place = None
        self._block = self._header = block
        self._values = block[HEADER.size :].cast("d")
        self._short = short
        self._owner = owner

    @property
    def _written(self) -> int:  # type: ignore[override]  # the other process counts
        written: int = HEADER.unpack_from(self._header)[1]
        return written

    @property
    def valid(self) -> bool:
        """Whether the memory still is this daemon's."""
        return bool(HEADER.unpack_from(self._header)[0] == self._owner)


class _Daemon:
    """A daemon, as far as counters are read."""

    __slots__ = ("ring",)

    def __init__(self, ring: SharedRing) -> None:
        self.ring = ring


class SharedCounters:
    """The daemons of the fleet by name, as ``mgr.host.counter_reader`` asks for them."""

    def __init__(self, call: Callable[..., Any], path: str) -> None:
        """Ask the worker by ``call``; read the memory at ``path``.

        Raises:
            OSError: It cannot be opened.

        """
        self._call = call
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._segments: dict[int, memoryview] = {}
        self._schemas: dict[bytes, Schema] = {}
        first_page = mmap.mmap(self._fd, mmap.PAGESIZE, prot=mmap.PROT_READ)
        self._declared = memoryview(first_page).cast("Q")
        self._known: dict[str, _Daemon] = {}
        # What ``_declared`` was when the worker was asked for a daemon and had no counters of it.
        self._absent: dict[str, int] = {}
        self._asked = 0

    def get(self, name: str) -> _Daemon | None:
        """Return the daemon; None if there is none or it has no counters."""
        known = self._known.get(name)
        if known is not None and known.ring.valid:
            return known
        if self._absent.get(name) == self._declared[0]:
            return None
        return self._ask(name)

    def _ask(self, name: str) -> _Daemon | None:
        # Read first: for what is declared during the request it is asked again.
        declared = self._declared[0]
        self._known.pop(name, None)
        self._asked += 1
        every = self._asked >= max(SINGLE_MAX, len(self._known) // KNOWN_SHARE)
        if every:
            self._asked = 0
        for found, place, digest, short in self._call("counter_places", "" if every else name):
            schema = self._schemas.get(digest) or self._schema(found)
            if schema is not None and schema.digest == digest:
                self._known[found] = _Daemon(self._ring(Place(*place), schema, short))
        daemon = self._known.get(name)
        if daemon is None:
            if len(self._absent) >= ABSENT_MAX:
                self._absent.clear()
            self._absent[name] = declared
        return daemon

    def _schema(self, name: str) -> Schema | None:
        found = self._call("counter_schema", name)
        if found is None:
            return None
        digest, counters = found
        schema = self._schemas[digest] = Schema([_counter(each) for each in counters], digest)
        return schema

    def _ring(self, place: Place, schema: Schema, short: tuple[tuple[int, int], ...]) -> SharedRing:
        segment = self._segments.get(place.segment_at)
        if segment is None:
            mapped = mmap.mmap(
                self._fd, place.segment_bytes, prot=mmap.PROT_READ, offset=place.segment_at
            )
            segment = self._segments[place.segment_at] = memoryview(mapped)
        size = HEADER.size + ROWS * (schema.width + 1) * 8
        block = segment[place.block_at : place.block_at + size]
        return SharedRing(schema, block, place.owner, short)


def packed_rows(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what ``get_counter_rows`` returns with bytes for arrays, to be sent."""
    return [
        {
            **entry,
            **{part: {n: row.tobytes() for n, row in entry[part].items()} for part in ROW_PARTS},
        }
        for entry in entries
    ]


def unpacked_rows(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the arrays of ``packed_rows``, and counters that nobody can change."""
    return [
        {
            "counters": freeze(entry["counters"]),
            **{part: {n: array("d", row) for n, row in entry[part].items()} for part in ROW_PARTS},
        }
        for entry in entries
    ]


def counter_fields(counter: Counter) -> tuple[Any, ...]:
    """Return a counter as plain values."""
    return (
        *(counter.group, counter.name, int(counter.kind), int(counter.unit)),
        *(counter.labels, counter.bounds),
    )


def _counter(fields: tuple[Any, ...]) -> Counter:
    group, name, kind, unit, labels, bounds = fields
    return Counter(
        group=group, name=name, kind=Kind(kind), unit=Unit(unit), labels=labels, bounds=bounds
    )
