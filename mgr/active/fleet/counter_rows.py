"""Returns the counters of all daemons as rows of numbers, for modules that export all of them.

An exporter reads a million values at once. Read one by one, each would cost several Python
objects; a row takes eight bytes a value, and the description of its columns is shared by all
daemons of one schema.
"""

from __future__ import annotations

from array import array
from typing import Any, Final
from weakref import WeakKeyDictionary

from mgr.cluster.counters import Counter, Schema, Unit
from mgr.cluster.daemon import DaemonState
from mgr.cluster.fleet import Fleet
from mgr.cluster.frozen import freeze

UNITS: Final = {Unit.NONE: "", Unit.BYTES: "bytes", Unit.SECONDS: "seconds"}


class CounterRowReader:
    """Reads the counters of a whole fleet. May be called from any thread."""

    def __init__(self, fleet: Fleet) -> None:
        """Read ``fleet``."""
        self._fleet = fleet
        self._columns: WeakKeyDictionary[Schema, dict[int, Any]] = WeakKeyDictionary()

    def get_daemons(self) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        return [
            {
                "name": daemon.name,
                "type": daemon.kind,
                "id": daemon.id,
                "hostname": daemon.record.host,
                "version": daemon.record.version,
                "state": daemon.state.name.lower(),
                "since": daemon.record.since,
                "reported_at": daemon.reported_at,
            }
            for daemon in list(self._fleet.daemons.values())
        ]

    def get_counter_rows(self, kind: str, lowest_priority: int) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        found: dict[Schema, tuple[dict[str, array[float]], dict[str, array[float]]]] = {}
        for daemon in list(self._fleet.daemons.values()):
            # The last values of a silent daemon are not current; `get_counter` still has them.
            if kind in {"", daemon.kind} and daemon.state is not DaemonState.SILENT:
                ring = daemon.ring
                both = found.setdefault(ring.schema, ({}, {}))
                for under, row in zip(both, ring.newest(), strict=False):
                    under[daemon.name] = row
        return [
            {"counters": counters, "rows": rows, "before": before}
            for schema, (rows, before) in found.items()
            if rows and (counters := self._columns_for(schema, lowest_priority))
        ]

    def _columns_for(self, schema: Schema, lowest_priority: int) -> Any:
        known = self._columns.setdefault(schema, {})
        if lowest_priority not in known:
            known[lowest_priority] = freeze(
                [
                    {**_counter_document(slot.counter), "start": slot.start, "stop": slot.stop}
                    for slot in schema.slots
                    if slot.counter.priority >= lowest_priority
                ]
            )
        return known[lowest_priority]


def _counter_document(counter: Counter) -> dict[str, Any]:
    return {
        "path": counter.path,
        "kind": counter.kind.name.lower(),
        "description": counter.description,
        "unit": UNITS[counter.unit],
        "priority": counter.priority,
        "labels": dict(counter.labels),
        "bounds": list(counter.bounds),
    }
