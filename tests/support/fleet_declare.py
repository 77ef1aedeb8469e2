"""A daemon declares what it counts, as its stream would have it declare."""

from __future__ import annotations


def declare(fleet, daemon, line, said, counters, *, anew=True):
    """Declare ``counters`` in the words ``said``; they are looked at only if those are new."""
    schema = fleet.known(daemon, line, said, count=len(counters), anew=anew)
    if schema is None:
        schema = fleet.extended(daemon, said, counters, anew=anew)
    fleet.declare(daemon, line, schema, anew=anew)
