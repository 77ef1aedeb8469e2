"""Keeps Python's collector of reference cycles from stopping the loop under a large fleet.

Everything waits for a collection, and it walks over every object of its generation:

- A full one comes whenever the heap has grown by a quarter. With ten thousand daemons it takes a
  third of a second, a fleet that joins suffers one after another, and all of them find nothing:
  what a stream holds lives as long as the stream. So that is set aside (``gc.freeze``). What dies
  is freed all the same unless it is part of a cycle; once as many streams have ended as are open,
  everything is looked at, once.
- A young one comes after 700 objects more than went. But what gRPC keeps for the next report of a
  stream is replaced with every report: all of that is young, a hundred thousand objects among
  which there is nothing to find. So it comes less often.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 50_000
"""Objects more than went that are worth a collection of the young: a few megabytes."""
OPENED_MIN: Final = 100
"""Streams that are worth setting aside."""
ENDED_MIN: Final = 1000
"""Streams whose remains are worth a full collection."""


class GcTuner:
    """Looks after what streams leave on the heap of this process."""

    def __init__(self) -> None:
        """Begin before the first stream; the young are looked at less often from now on."""
        gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
        self._opened = 0
        self._ended = 0

    def tune(self, opened: int, ended: int) -> None:
        """Do what is due now that so many streams were ``opened`` and have ``ended`` in all.

        To be called every second or so: what came meanwhile is all that a collection sees.
        """
        if ended - self._ended >= max(ENDED_MIN, opened - ended):
            self._ended = ended
            gc.unfreeze()
            gc.collect()
        elif opened - self._opened < OPENED_MIN:
            return
        self._opened = opened
        gc.freeze()
