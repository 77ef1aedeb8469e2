"""Checks once a second that the active's worker can write to the store.

The guard's leader heartbeat shows that the guard can write. The worker has connections of its own
and may be unable to commit at the same time. Each heartbeat of the worker carries the time since
its last successful write; the guard replaces the worker if that is too long
(``mgr.guard.worker_health``).
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
"""Limit for one write with all its attempts."""


class WriteProof:
    """Writes a number once a second and records when that last succeeded."""

    def __init__(self, fenced: FencedStore, keys: Keys, clock: Clock) -> None:
        """Count the time since the last write from now, the beginning of the term."""
        self._fenced = fenced
        self._key = keys.proof
        self._clock = clock
        self._last_success_s = clock.now()
        self._number = 0

    def age_s(self) -> float:
        """Return the seconds since the newest confirmed write was sent."""
        return self._clock.now() - self._last_success_s

    async def prove(self) -> None:
        """Write once a second, for as long as the term lasts."""
        while True:
            self._number += 1
            sent_s = self._clock.now()
            try:
                await self._fenced.put(self._key, str(self._number), timeout_s=LIMIT_S)
            except TermLostError:
                return
            except StoreError:
                # Not logged here: the growing age reaches the guard, which decides what to do.
                await asyncio.sleep(0)
            else:
                # When it was sent, not confirmed: the older time is the safe one.
                self._last_success_s = sent_s
            await asyncio.sleep(PROVE_EVERY_S)
