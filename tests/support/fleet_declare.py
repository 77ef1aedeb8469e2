"""A daemon declares what it counts, as its stream would have it declare."""

from __future__ import annotations


def declare(fleet, daemon, line, declaration, counters, *, replace=True):
    """Declare ``counters`` as ``declaration``; they are read only if that is new."""
    schema = fleet.find_schema(daemon, line, declaration, count=len(counters), replace=replace)
    if schema is None:
        schema = fleet.extend_schema(daemon, declaration, counters, replace=replace)
    fleet.declare(daemon, line, schema, replace=replace)
