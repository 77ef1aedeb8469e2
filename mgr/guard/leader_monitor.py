"""Monitor the leader's heartbeat as a standby, and depose a leader that sends none any more."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from mgr.election.candidate import WatchedKey
from mgr.election.deposition import (
    Deposition,
    SilenceDetector,
    heartbeat_timeout_s,
    unleased_timeout_s,
)
from mgr.election.machine import Phase
from mgr.errors import StoreError
from mgr.guard.state import GuardContext, State
from mgr.store.api import Record, Revision

IDLE_S: Final = 0.2
"""Interval of checks whether there is a leader to monitor."""

log = logging.getLogger(__name__)


class LeaderMonitor:
    """Reads the heartbeat key several times per timeout."""

    def __init__(
        self, context: GuardContext, state: State, leader: WatchedKey, wake: asyncio.Event
    ) -> None:
        """Monitor the leader in ``leader``; set ``wake`` when it was deposed."""
        self._clock = context.clock
        self._lease_ttl_s = context.settings.lease_ttl_s
        self._state = state
        self._leader = leader
        self._wake = wake
        self._deposition = Deposition(context.store, context.keys, context.name)
        self._silence: SilenceDetector | None = None

    async def run(self) -> None:
        """Monitor the leader; never returns."""
        while True:
            pause_s = await self._poll()
            await asyncio.sleep(pause_s)

    async def _poll(self) -> float:
        """Read the heartbeat once and act on it; return the pause until the next poll, in s."""
        leader = self._leader.record
        silence_limit_s, sends_heartbeats = 0.0, True
        if leader is not None and not (silence_limit_s := heartbeat_timeout_s(leader)):
            silence_limit_s, sends_heartbeats = unleased_timeout_s(leader, self._lease_ttl_s), False
        if leader is None or not silence_limit_s or self._state.phase is not Phase.STANDBY:
            self._silence = None
            return IDLE_S
        try:
            await self._observe(leader, silence_limit_s, sends_heartbeats=sends_heartbeats)
        except StoreError:
            # No answer: the gap in the answers makes the measurement start again.
            return silence_limit_s / 10
        silence = self._silence
        return IDLE_S if silence is None else silence.pause_s(self._clock.now())

    async def _observe(
        self, leader: Record, silence_limit_s: float, *, sends_heartbeats: bool
    ) -> None:
        snapshot = await self._deposition.snapshot(leader, timeout_s=silence_limit_s / 4)
        # The moment of the answer, not of the request: the measurement must not begin too early.
        now_s = self._clock.now()
        if self._silence is None or self._silence.sends_heartbeats is not sends_heartbeats:
            self._silence = SilenceDetector(
                snapshot, silence_limit_s, now_s, sends_heartbeats=sends_heartbeats
            )
            return
        self._silence.on_answer(snapshot, silence_limit_s, now_s)
        if self._silence.may_depose():
            await self._depose(self._silence, timeout_s=silence_limit_s / 4)

    async def _depose(self, silence: SilenceDetector, *, timeout_s: float) -> None:
        ended = await self._deposition.depose(silence, timeout_s=timeout_s)
        if ended is not None:
            silent_s = round(silence.silent_s(), 3)
            log.warning(
                "leader heartbeat timed out: leader deposed",
                extra={"term": silence.snapshot.term, "silent_s": silent_s},
            )
            self._on_deposed(ended)

    def _on_deposed(self, ended: Revision) -> None:
        # Applied at once: the feed delivers the deletion later, and the campaign need not wait.
        self._leader.apply_read(None, ended, self._clock.now())
        self._silence = None
        self._wake.set()
