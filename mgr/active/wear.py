"""Keeps how worn devices are: what daemons measure outlives them, their hosts and the term."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Final

from mgr.cluster.device import STORED, WEAR, kept
from mgr.cluster.fleet import Fleet
from mgr.config.kv import checked_key
from mgr.errors import InvalidArgumentError, StoreError, TermLostError
from mgr.store.api import Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

LOOK_EVERY_S: Final = 30.0
STEP: Final = 0.01
"""Less of a change is not written: a disk wears out over years."""
WRITTEN_MAX: Final = 100
"""Devices in one look; the others have their turn in the next."""

log = logging.getLogger(__name__)


class Wear:
    """Writes the wear levels that are news."""

    def __init__(self, fleet: Fleet, mirror: Mirror, keys: Keys, fenced: FencedStore) -> None:
        """Compare what ``fleet`` reports with what is stored."""
        self._fleet = fleet
        self._mirror = mirror
        self._keys = keys
        self._fenced = fenced
        self._seen = -1

    async def keep(self) -> None:
        """Look from time to time, for as long as the term lasts."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except TermLostError:
                return
            except StoreError as error:
                log.warning("wear of devices not written", extra={"error": str(error)})

    async def look(self) -> None:
        """Write what is news now.

        Raises:
            TermLostError: The term is over. Nothing was written.
            StoreError: See ``mgr.store.fenced``; the next look tries again.

        """
        generation = self._fleet.devices_generation
        if generation == self._seen:
            return
        news = self._news()
        if news:
            await self._fenced.commit(news[:WRITTEN_MAX])
        if len(news) <= WRITTEN_MAX:
            self._seen = generation

    def _news(self) -> list[Put]:
        news: dict[str, Put] = {}
        for daemon in self._fleet.daemons.values():
            for device in daemon.devices:
                if device.wear_level is None:
                    continue
                try:
                    key = self._keys.entry(checked_key(STORED + device.id))
                except InvalidArgumentError:
                    continue
                known = kept(self._mirror.get(key))
                before = known.get(WEAR)
                if not isinstance(before, int | float) or abs(before - device.wear_level) >= STEP:
                    news[key] = Put(key, json.dumps({**known, WEAR: device.wear_level}))
        return list(news.values())
