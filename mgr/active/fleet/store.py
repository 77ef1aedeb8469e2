"""Stores the records of the fleet's daemons: loads them at the start of a term, writes changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mgr.active.fleet.gc_tuning import GcTuner
from mgr.cluster.daemon import DaemonState, ReportConfig
from mgr.cluster.daemon_record import decode, encode
from mgr.cluster.fleet import Fleet
from mgr.cluster.fleet_options import FleetOptions
from mgr.config.manager_options import (
    BEACON_GRACE,
    COUNTERS_MAX,
    DAEMON_GRACE,
    DAEMON_PRUNE,
    DAEMONS_MAX,
    STATS_PERIOD,
    STATS_THRESHOLD,
    VALUES_MAX,
)
from mgr.errors import InvalidArgumentError, OutcomeUnknownError, StoreError, TermLostError
from mgr.host.worker_context import WorkerContext
from mgr.store.api import Delete, Operation, Put
from mgr.store.fenced import FencedStore
from mgr.waiting import Broadcast, wait

FLEET_OPTION_NAMES: Final = frozenset(
    (
        BEACON_GRACE,
        COUNTERS_MAX,
        DAEMON_GRACE,
        DAEMON_PRUNE,
        DAEMONS_MAX,
        STATS_PERIOD,
        STATS_THRESHOLD,
        VALUES_MAX,
    )
)
"""The options that ``FleetOptions`` is made of."""
CHECK_EVERY_S: Final = 1.0
WRITTEN_MAX: Final = 100
"""The most daemons in one transaction, whose size is limited."""
WRITTEN_BYTES_MAX: Final = 512 << 10
GATHER_S: Final = 0.05
"""Changes within this time are written together: a fleet that joins is stored in large batches."""
STORED_S: Final = 5.0
"""How long a command that removes a daemon waits until the removal is stored."""
RETRY_AFTER_S: Final = 1.0
SENT_AT_ONCE: Final = 100
"""Daemons that are sent a new configuration before the loop may run something else."""

log = logging.getLogger(__name__)


class FleetStore:
    """Synchronizes the fleet's records with the store, and the fleet's options with theirs."""

    def __init__(
        self, fleet: Fleet, manager: WorkerContext, fenced: FencedStore, changed: Callable[[], None]
    ) -> None:
        """Load the stored daemons into ``fleet``; ``changed`` is called when health may differ."""
        self._fleet = fleet
        self._manager = manager
        self._fenced = fenced
        self._changed = changed
        # Names in the order of their change, each once, so it never outgrows the fleet. True: an
        # earlier write failed and may still take effect; write even if the mirror is up to date.
        self._unwritten: dict[str, bool] = {}
        self._writing: Iterable[str] = ()
        self._flush_requested = asyncio.Event()
        self._written = Broadcast()
        self._lost: TermLostError | None = None
        self._single_writes = 0
        self._has_unwritten = asyncio.Event()
        self._report_config_changed = asyncio.Event()
        fleet.options = self._fleet_options()
        self._load()
        fleet.on_record_change(self._on_member_changed)
        fleet.wait_stored = self.wait_stored

    def follow(self) -> None:
        """Apply changed options to the fleet, from now on."""
        self._manager.config.subscribe(self._apply_options)

    async def watch(self) -> None:
        """Update daemon states, metrics and the collector each second while the term lasts."""
        fleet, metrics, gc_tuner = self._fleet, self._manager.metrics, GcTuner()
        while True:
            before = fleet.health, fleet.counts, fleet.filling
            fleet.update_states()
            gc_tuner.tune(fleet.streams_opened, fleet.streams_ended)
            if before != (fleet.health, fleet.counts, fleet.filling):
                self._changed()
                for state in DaemonState:
                    metrics.set_daemons(state.name.lower(), fleet.counts.get(state, 0))
                metrics.set_flagged("clock_off", len(fleet.health.clocks))
                metrics.set_flagged("duplicate_name", len(fleet.health.duplicate_names))
            await asyncio.sleep(CHECK_EVERY_S)

    async def write(self) -> None:
        """Write changed records, for as long as the term lasts."""
        while True:
            await self._has_unwritten.wait()
            await wait(self._flush_requested, GATHER_S)
            operations = self._operations()
            self._writing = operations.keys()
            try:
                if operations:
                    await self._fenced.commit(list(operations.values()))
            except asyncio.CancelledError:
                self._requeue(operations)  # the outcome is unknown: ``wait_stored`` must not return
                raise
            except TermLostError as error:
                self._lost = error
                return
            except InvalidArgumentError as error:
                if len(operations) > 1:
                    # One of them is invalid or they are too many: write them one by one, so that
                    # the valid ones are stored.
                    self._requeue(operations)
                    self._single_writes = len(operations)
                else:
                    # It stays in memory. After a failover it is unknown until it joins again, and
                    # its absence is not reported.
                    log.error("daemon not stored", extra={"error": str(error)})  # noqa: TRY400 - no traceback needed
                    self._single_writes = max(0, self._single_writes - 1)
            except StoreError as error:
                log.warning("daemons not written, retrying", extra={"error": str(error)})
                self._requeue(operations)
                await asyncio.sleep(RETRY_AFTER_S)
            else:
                self._single_writes = max(0, self._single_writes - 1)
            finally:
                self._writing = ()
                self._written.notify()

    async def wait_stored(self, name: str) -> None:
        """Wait until the record of daemon ``name``, or its removal, is stored.

        Raises:
            TermLostError: The term is over.
            OutcomeUnknownError: It was not stored within ``STORED_S``; the write is retried.

        """
        try:
            async with asyncio.timeout(STORED_S):
                while self._lost is None:
                    if name not in self._unwritten and name not in self._writing:
                        return
                    self._flush_requested.set()
                    await self._written.wait()
        except TimeoutError:
            raise OutcomeUnknownError(
                f"{name}: the change was not stored within {STORED_S:g} s; it is tried again"
            ) from None
        raise self._lost

    async def send_report_config(self) -> None:
        """Send every daemon its reporting period and priority whenever the options change."""
        while True:
            await self._report_config_changed.wait()
            self._report_config_changed.clear()
            wanted = self._fleet.options.report_config
            for number, daemon in enumerate(list(self._fleet.daemons.values())):
                if daemon.stream is not None:
                    daemon.stream.configure(wanted)
                if number % SENT_AT_ONCE == 0:
                    await asyncio.sleep(0)

    # -- inside ---------------------------------------------------------------------------------

    def _load(self) -> None:
        mirror, prefix = self._manager.mirror, self._manager.keys.daemons
        found = {
            key.removeprefix(prefix): member
            for key, record in mirror.list(prefix).items()
            if (member := decode(record.value)) is not None
        }
        self._fleet.expect(found)

    def _on_member_changed(self, name: str) -> None:
        self._unwritten.setdefault(name, False)
        self._has_unwritten.set()

    def _requeue(self, operations: Mapping[str, Operation]) -> None:
        back = dict.fromkeys(operations, True)
        self._unwritten = back | self._unwritten | back
        self._has_unwritten.set()

    def _operations(self) -> dict[str, Operation]:
        """Return the operations of the next transaction, by the name of the daemon."""
        keys, mirror = self._manager.keys, self._manager.mirror
        operations: dict[str, Operation] = {}
        size = 0
        most = 1 if self._single_writes else WRITTEN_MAX
        for name in tuple(self._unwritten):
            if len(operations) == most or size > WRITTEN_BYTES_MAX:
                return operations
            in_doubt = self._unwritten.pop(name)
            key = keys.daemon(name)
            record = mirror.get(key)
            daemon = self._fleet.daemons.get(name)
            if daemon is None:
                # Also if the mirror shows no record: an earlier write may still take effect.
                operations[name] = Delete(key)
                continue
            value = encode(daemon.record)
            if in_doubt or record is None or record.value != value:
                operations[name] = Put(key, value)
                size += len(value.encode())
        self._has_unwritten.clear()
        self._flush_requested.clear()
        return operations

    def _apply_options(self, changed: frozenset[str]) -> None:
        # Every option that is changed waits for this, and few of them are about the fleet.
        if changed.isdisjoint(FLEET_OPTION_NAMES):
            return
        before, options = self._fleet.options, self._fleet_options()
        self._fleet.set_options(options)
        if before.report_config != options.report_config:
            self._report_config_changed.set()

    def _fleet_options(self) -> FleetOptions:
        return FleetOptions(
            report_config=ReportConfig(
                period_s=self._number(STATS_PERIOD),
                lowest_priority=int(self._number(STATS_THRESHOLD)),
            ),
            grace_periods=int(self._number(DAEMON_GRACE)),
            beacon_grace_s=self._number(BEACON_GRACE),
            prune_s=self._number(DAEMON_PRUNE),
            daemons_max=int(self._number(DAEMONS_MAX)),
            counters_max=int(self._number(COUNTERS_MAX)),
            values_max=int(self._number(VALUES_MAX)),
        )

    def _number(self, option: str) -> float:
        return self._manager.config.number(option)
