"""Stores the wear levels of devices, so that they survive the daemons, hosts and the term."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from functools import partial
from typing import Final

from mgr.cluster.fleet import Fleet
from mgr.cluster.stored_device import DEVICE_KEY_PREFIX, WEAR, stored_device
from mgr.config.kv import checked_key
from mgr.errors import ConflictError, InvalidArgumentError, StoreError, TermLostError
from mgr.store.api import Put, as_seen
from mgr.store.computed import ComputedWrite, commit_computed
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

WRITE_EVERY_S: Final = 30.0
STEP: Final = 0.01
"""Smaller changes are not written: a disk wears out over years."""
WRITTEN_MAX: Final = 100
"""The most devices written in one pass; the next pass writes the others."""

log = logging.getLogger(__name__)


class WearLevelStore:
    """Writes the wear levels that differ from the stored ones."""

    def __init__(self, fleet: Fleet, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Store the wear levels that the daemons of ``fleet`` report."""
        self._fleet = fleet
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._written_generation = -1

    async def store_wear_levels(self) -> None:
        """Write changed wear levels every 30 s, for as long as the term lasts."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write_changed()
            except TermLostError:
                return
            except StoreError as error:
                log.warning("wear levels not written, retrying", extra={"error": str(error)})

    async def write_changed(self) -> None:
        """Write the wear levels that have changed by ``STEP`` or more.

        Raises:
            TermLostError: The term is over. Nothing was written.
            StoreError: See ``mgr.store.fenced``; the next call tries again.

        """
        generation = self._fleet.devices_generation
        if generation == self._written_generation:
            return
        changed = {
            key: level
            for key, level in self._reported_levels().items()
            if self._update_for(key, level)
        }
        complete = len(changed) <= WRITTEN_MAX
        for key, level in tuple(changed.items())[:WRITTEN_MAX]:
            # One write each: a record that others are changing does not delay the rest.
            try:
                await commit_computed(partial(self._update_for, key, level), self._fenced)
            except ConflictError as error:
                complete = False
                log.warning("wear level not written, retrying", extra={"error": str(error)})
        if complete:
            self._written_generation = generation

    def _reported_levels(self) -> dict[str, float]:
        levels: dict[str, float] = {}
        for daemon in self._fleet.daemons.values():
            for device in daemon.devices:
                if device.wear_level is None:
                    continue
                with contextlib.suppress(InvalidArgumentError):
                    key = self._keys.entry(checked_key(DEVICE_KEY_PREFIX + device.id))
                    levels[key] = device.wear_level
        return levels

    def _update_for(self, key: str, level: float) -> ComputedWrite | None:
        """Return the write that adds ``level`` to the device's record; None if it is stored."""
        record = self._mirror.get(key)
        known = stored_device(record)
        before = known.get(WEAR)
        if isinstance(before, int | float) and abs(before - level) < STEP:
            return None
        return ComputedWrite([Put(key, json.dumps({**known, WEAR: level}))], [as_seen(key, record)])
