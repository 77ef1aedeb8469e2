"""The active's worker proves again and again that its own writes reach the store.

The guard's heartbeat proves the term; it does not prove that the worker, which has connections
of its own, can commit anything. The guard reads the age of the newest proof in each heartbeat of
the worker, and replaces one that is too old (``mgr.guard.worker_health``).
"""

from __future__ import annotations

import asyncio
from typing import Final

from mgr.clock import Clock
from mgr.errors import StoreError, TermLostError
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys

PROVE_EVERY_S: Final = 1.0
LIMIT_S: Final = 2.0
"""For one write with all its attempts."""


class WriteProof:
    """Writes a number once a second and remembers when that last succeeded."""

    def __init__(self, fenced: FencedStore, keys: Keys, clock: Clock) -> None:
        """Count from now: the term has just begun."""
        self._fenced = fenced
        self._key = keys.proof
        self._clock = clock
        self._last_success_s = clock.now()
        self._number = 0

    def age_s(self) -> float:
        """Seconds since a write of this term was last sent that the store confirmed."""
        return self._clock.now() - self._last_success_s

    async def prove(self) -> None:
        """Write, for as long as the term lasts."""
        while True:
            self._number += 1
            sent_s = self._clock.now()
            try:
                await self._fenced.put(self._key, str(self._number), timeout_s=LIMIT_S)
            except TermLostError:
                return
            except StoreError:
                # The age says it. What it means is for the guard to judge.
                await asyncio.sleep(0)
            else:
                self._last_success_s = sent_s
            await asyncio.sleep(PROVE_EVERY_S)
