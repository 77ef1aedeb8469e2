"""Keeps Python's garbage collector (of reference cycles) from blocking the loop of a large fleet.

A collection blocks the whole process while it visits every object of its generation:

- A full collection runs whenever the heap has grown by a quarter. With ten thousand daemons it
  takes a third of a second, runs again and again while a fleet joins, and finds nothing: the
  objects of a stream live as long as the stream. So they are exempted (``gc.freeze``). Exempted
  objects are still freed by their reference count, unless they are part of a cycle; once as many
  streams have ended as are open, one full collection visits everything.
- A young collection runs after 700 more objects were made than freed. But the objects that gRPC
  keeps for the next report of a stream are replaced with every report: a hundred thousand young
  objects without a cycle among them. So young collections run less often.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 50_000
"""Objects made minus objects freed before a young collection: a few megabytes."""
OPENED_MIN: Final = 100
"""Streams opened before their objects are exempted."""
ENDED_MIN: Final = 1000
"""The fewest streams that must have ended before a full collection."""


class GcTuner:
    """Adjusts the garbage collector to the number of open streams."""

    def __init__(self) -> None:
        """Make young collections rarer from now on. Call it before the first stream opens."""
        gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
        self._opened = 0
        self._ended = 0

    def tune(self, opened: int, ended: int) -> None:
        """Collect or exempt objects, if due; ``opened`` and ``ended`` count all streams so far.

        Call it about once a second: only objects made since the last call are not exempted.
        """
        if ended - self._ended >= max(ENDED_MIN, opened - ended):
            self._ended = ended
            gc.unfreeze()
            gc.collect()
        elif opened - self._opened < OPENED_MIN:
            return
        self._opened = opened
        gc.freeze()
