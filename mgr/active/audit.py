"""The audit of the active: made for a term, and the hand-over when a required sink fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.active.cluster_log_store import ClusterLogStore
from mgr.active.health.store import LAST_WRITE_S
from mgr.active.term_context import TermContext
from mgr.active.term_log import TermLog
from mgr.active.term_parts import TermParts
from mgr.audit.record import AuditRecord, decode, encode
from mgr.audit.ring import records_in
from mgr.audit.trail import AuditLimits, AuditTrail
from mgr.clock import timestamp
from mgr.config.manager_options import AUDIT_BYTES, AUDIT_RECORDS, AUDIT_REFUSALS
from mgr.errors import StoreError, TermLostError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import Delete, Modified
from mgr.store.fenced import FencedStore

HAND_OVER_AGAIN_S = 10.0
"""Shortest time between two requests for a hand-over because of a sink."""

log = logging.getLogger(__name__)


def make_trail(manager: WorkerContext, fenced: FencedStore) -> AuditTrail:
    """Return the audit of the term that ``fenced`` writes for."""
    config = manager.config

    def limits() -> AuditLimits:
        return AuditLimits(
            changes=int(config.number(AUDIT_RECORDS)),
            change_chars=int(config.number(AUDIT_BYTES)),
            refusals=int(config.number(AUDIT_REFUSALS)),
        )

    return AuditTrail(
        keys=manager.keys,
        mirror=manager.mirror,
        writer=fenced,
        manager=manager.id,
        clock=manager.clock,
        limits=limits,
        is_secret=config.is_secret,
        sinks=manager.audit_sinks,
    )


def start_audit(
    parts: TermParts,
    term_context: TermContext,
    trail: AuditTrail,
    term_log: TermLog,
    tasks: asyncio.TaskGroup,
) -> None:
    """Record refusals and what was executed while none led, for as long as the term lasts.

    And hand over while a required sink fails. What waits is written once ``trail`` runs.
    """
    SinkWatch(parts.manager, term_context.resign).follow()
    follow_refusals(parts.manager, trail)

    def adopt(_changes: object = None) -> None:
        unled = adopt_unled(parts.manager, parts.fenced, trail, term_log)
        tasks.create_task(unled, name="adopt_unled")

    parts.manager.mirror.subscribe(parts.manager.keys.unled, adopt)
    adopt()
    if trail.delivers:
        offer_unfinished(parts.manager, parts.fenced.term, trail)


def offer_unfinished(manager: WorkerContext, term: int, trail: AuditTrail) -> None:
    """Deliver what the last term began and did not finish: its manager could not any more."""
    earlier = [each for each in records_in(manager.mirror, manager.keys) if each.term < term]
    last = max((record.term for record in earlier), default=0)
    for record in earlier:
        if record.term == last and record.outcome == "started":
            trail.sinks.offer(encode(msgspec.structs.replace(record, outcome="unknown")))


async def close_records(trail: AuditTrail, log_store: ClusterLogStore) -> None:
    """Store what waits before a hand-over, within ``LAST_WRITE_S``; then nothing more."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WRITE_S), asyncio.TaskGroup() as group:
            group.create_task(_if_possible(trail.flush()))
            group.create_task(_if_possible(log_store.flush()))
    log_store.close()


async def _if_possible(write: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(StoreError, TermLostError):
        await write


def follow_refusals(manager: WorkerContext, trail: AuditTrail) -> None:
    """Record every refusal of this process in ``trail``, from now on."""
    loop = asyncio.get_running_loop()

    def refused(caller: Caller, request: AccessRequest) -> None:
        # Modules check capabilities on threads of their own.
        loop.call_soon_threadsafe(trail.refused, caller, request)

    manager.view.access.on_refusal = refused


async def adopt_unled(
    manager: WorkerContext, fenced: FencedStore, trail: AuditTrail, term_log: TermLog
) -> None:
    """Make records of the commands that managers executed while none led.

    Each note and its record change places in one transaction: it is recorded once.
    """
    for key, stored in manager.mirror.list(manager.keys.unled).items():
        record = decode(stored.value)
        if record is None:
            # Written by an earlier version: a sentence.
            record = AuditRecord(
                term=0,
                sequence=0,
                at=timestamp(),
                manager=manager.id,
                command="",
                outcome="ok",
                detail=stored.value[:1000],
            )
        with contextlib.suppress(StoreError):  # the next active does it
            unchanged = Modified(key, stored.mod_revision)
            await fenced.commit([trail.adopt(record), Delete(key)], [unchanged])
            term_log.command_without_active(_sentence(record))


def _sentence(record: AuditRecord) -> str:
    if not record.command:
        return record.detail
    arguments = "".join(f" {name}={value}" for name, value in record.arguments.items())
    who = record.who or f"a client at {record.address or '?'}"
    return (
        f"mgr.{record.manager} executed '{record.command}{arguments}' for {who}: "
        "no manager was active"
    )


class SinkWatch:
    """Hands leadership over while a required sink of this manager keeps no records.

    Only to a warm standby whose own sinks keep records. If there is none, this manager goes on
    leading: it answers reads, refuses changes, and health says why.
    """

    def __init__(self, manager: WorkerContext, resign: Callable[[str, str, str], None]) -> None:
        self._manager = manager
        self._resign = resign
        self._asked_s = float("-inf")

    def follow(self) -> None:
        """Check now, and whenever a sink or a standby changes."""
        if self._manager.audit_sinks is not None:
            self._manager.audit_sinks.subscribe(self.check)
            self._manager.mirror.subscribe(self._manager.keys.managers, self.check)
            self.check()

    def check(self, _changes: object = None) -> None:
        """Ask for a hand-over if a required sink keeps no records and another manager could."""
        manager = self._manager
        trouble = manager.audit_sinks.trouble if manager.audit_sinks is not None else ""
        now_s = manager.clock.now()
        if not trouble or now_s - self._asked_s < HAND_OVER_AGAIN_S:
            return
        able = [
            presence.name
            for presence in manager.view.presences()
            if presence.warm and not presence.audit_trouble and presence.name != manager.id
        ]
        if able:
            self._asked_s = now_s
            fields = {"why": trouble, "successor": able[0]}
            log.error("required audit sink fails: hand-over requested", extra=fields)
            self._resign(trouble, able[0], "")
