"""The fleet's counters as they are kept, for modules that read all of them: rows of numbers.

An exporter wants a million values at once. Asked for one by one, each costs a point, a list and
more; so it gets rows of eight bytes a value, and once for all daemons of one schema what stands
where in them.
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
    """Reads a fleet as a whole. From any thread."""

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
            # What a silent one counted last says nothing of now; `get_counter` still has it.
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
