"""Reads counters of single daemons in Ceph's shapes, from wherever their rings are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from mgr.cluster.counters import NO_POINTS, Kind, Ring, Slot, Unit
from mgr.module_api.parts.counters import NANOSECONDS


class Daemons(Protocol):
    """Daemons by name; each has a ``ring``."""

    def get(self, name: str, /) -> Any:
        """Return a daemon, or None."""
        ...


class CounterReader:
    """Reads counters. May be called from any thread; the caller may change what it gets."""

    def __init__(self, daemons: Daemons) -> None:
        """Read those of ``daemons``."""
        self._daemons: Final = daemons

    def get_counter(self, kind: str, name: str, path: str) -> list[list[float]]:
        """See ``mgr.module_api.context``."""
        # Called for thousands of daemons in a row, so the lookup of ``_ring`` is inlined here.
        daemon = self._daemons.get(f"{kind}.{name}")
        slot = daemon.ring.schema.slot(path) if daemon else None
        if daemon is None or slot is None:
            return []
        points: list[list[float]] = daemon.ring.points(slot)
        if slot.counter.unit is Unit.SECONDS:
            return [_in_nanoseconds(slot, point) for point in points]
        return points

    def get_latest_counter(self, kind: str, name: str, path: str) -> list[float]:
        """See ``mgr.module_api.context``."""
        ring = self._ring(kind, name)
        slot = ring.schema.slot(path)
        return _in_nanoseconds(slot, ring.latest(slot)) if slot else []

    def get_latest_labelled_counter(
        self, kind: str, name: str, key: str, counter: str, labels: Sequence[tuple[str, str]]
    ) -> list[float]:
        """See ``mgr.module_api.context``."""
        ring = self._ring(kind, name)
        slot = ring.schema.slot_with_labels(key, counter, labels)
        return _in_nanoseconds(slot, ring.latest(slot)) if slot else []

    def _ring(self, kind: str, name: str) -> Ring:
        daemon = self._daemons.get(f"{kind}.{name}")
        ring: Ring = NO_POINTS if daemon is None else daemon.ring
        return ring


def _in_nanoseconds(slot: Slot, point: list[float]) -> list[float]:
    """Convert the seconds in ``point`` to nanoseconds, as Ceph's; counts and buckets stay."""
    if slot.counter.unit is not Unit.SECONDS or not point:
        return point
    timed = len(point) - 1 if slot.counter.kind is Kind.HISTOGRAM else 1
    point[timed] *= NANOSECONDS
    return point
