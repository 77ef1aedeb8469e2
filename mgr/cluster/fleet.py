"""The fleet: all daemons that report, did report, or are awaited. State only: no I/O, no task.

A daemon is known from its first ``open`` until it leaves (``close``), is removed, or is silent for
too long. Its record is stored and survives a failover. Its counters live in memory only and come
back with its next report (docs/adr/0030). After a failover all daemons are awaited; none counts as
silent before the whole fleet had time to come back. The state of one daemon is in ``daemon.py``.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from mgr.clock import Clock, timestamp, wall_s
from mgr.cluster.counters import EMPTY as NOTHING_DECLARED
from mgr.cluster.counters import NO_POINTS, Counter, Ring, Schema, Schemas
from mgr.cluster.daemon import Daemon, DaemonState, DaemonStatus, DaemonStream, OpenRequest
from mgr.cluster.daemon_record import DaemonRecord
from mgr.cluster.fleet_health import FleetHealth, fleet_health_of
from mgr.cluster.fleet_log import FleetLog
from mgr.cluster.fleet_options import FleetOptions
from mgr.cluster.log import ClusterLog
from mgr.cluster.validation import (
    MESSAGES_AT_ONCE,
    MESSAGES_PER_PERIOD,
    check_count,
    check_width,
    checked_commands,
    checked_daemon_status,
    checked_incarnation,
    checked_name,
    checked_text,
    checked_texts,
)
from mgr.errors import (
    DeadlineExceededError,
    MgrError,
    NotAuthorizedError,
    ReplacedError,
    ReportLimitError,
    ReportRefusedError,
)

ARRIVALS_PER_S: Final = 1000
"""Daemons that may come back per second; the time over which a fleet returns follows from it."""
REJOIN_MIN_S: Final = 1.0
NAME_CONFLICT_SHOWN_S: Final = 300.0
"""How long health shows that two programs had the same name."""
REPLACED_MAX: Final = 8
"""Limit of remembered programs that lost a daemon's name; these do not get it back meanwhile."""
SILENCE_WRITES: Final = 8
"""How often a daemon's silence is stored until it is forgotten. A failover loses less than this
fraction of the silence."""


class Fleet:
    """All daemons of one term, by name. Changed on the loop only; readable from any thread.

    Attributes:
        daemons: Read it by key, or iterate over a copy (``list(fleet.daemons.values())``).
        generation: Grows when a daemon comes, goes, or changes its record.
        tasks_generation: Grows when the task status of a daemon changes.
        devices_generation: Grows when the device list of a daemon changes.
        values: Number of values in one report of each daemon, over all daemons.
        absent: Daemons silent for so long that the service map leaves them out.
        streams_opened: Number of streams opened so far.
        streams_ended: Number of these streams that have ended.
        wait_stored: Waits until the store has the state of a name, including its removal.
        on_declared: Called just after a daemon has got other counters.

    """

    def __init__(
        self,
        clock: Clock,
        log: ClusterLog,
        *,
        term: int,
        name: str,
        on_refusal: Callable[[str], None],
    ) -> None:
        """Begin without daemons, in ``term``; ``name`` (``mgr.a``) is the author of log lines.

        ``on_refusal`` is called with the rule that a daemon broke.
        """
        self.term: Final = term
        self.options = FleetOptions()
        self.daemons: dict[str, Daemon] = {}
        self.generation = 0
        self.tasks_generation = 0
        self.devices_generation = 0
        self.values = 0
        self.streams_opened = 0
        self.streams_ended = 0
        self.wait_stored: Callable[[str], Awaitable[None]] = _not_stored
        self.on_declared: Callable[[], None] = lambda: None
        self.health = FleetHealth()
        self.absent: frozenset[str] = frozenset()
        self.counts: Mapping[DaemonState, int] = {}
        self._clock = clock
        self._log = FleetLog(log, name=name)
        self._on_refusal = on_refusal
        self._schemas = Schemas()
        self._fill_until_s = clock.now()
        self._awaited: set[str] = set()
        self._on_record_change: list[Callable[[str], None]] = []

    # -- known daemons --------------------------------------------------------------------------

    def expect(self, records: Mapping[str, DaemonRecord]) -> None:
        """Await the daemons of ``records``, by name: those known before this term.

        Silence counted before the failover goes on counting, so that stale daemons are pruned even
        if the active changes daily.
        """
        now_s = self._clock.now()
        for name, record in records.items():
            last_message_s = now_s - record.silent_s
            daemon = Daemon(name, record, last_message_s=last_message_s, messages=MESSAGES_AT_ONCE)
            daemon.state = DaemonState.SILENT if record.silent_s else DaemonState.AWAITED
            self.daemons[name] = daemon
        self._awaited = {name for name, record in records.items() if not record.silent_s}
        self._fill_until_s = now_s + self.rejoin_within_s + self.options.grace_s
        self.generation += 1
        self.update_states()

    def set_options(self, options: FleetOptions) -> None:
        """Use ``options`` from now on."""
        # With a shorter grace the silence so far does not count: daemons that still report by the
        # old period would become silent at once.
        if options.grace_s < self.options.grace_s:
            now_s = self._clock.now()
            for daemon in self.daemons.values():
                if daemon.state is DaemonState.REPORTING:
                    daemon.last_message_s = now_s
        self.options = options

    def on_record_change(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each name whose record is added, changed or removed."""
        self._on_record_change.append(listener)

    @property
    def filling(self) -> bool:
        """Whether daemons from before a failover may still be on their way."""
        return bool(self._awaited) and self._clock.now() < self._fill_until_s

    @property
    def awaited(self) -> int:
        """Number of daemons from before the failover that are not back."""
        return len(self._awaited)

    @property
    def rejoin_within_s(self) -> float:
        """Seconds over which daemons that lost the manager should spread their return."""
        return max(REJOIN_MIN_S, len(self.daemons) / ARRIVALS_PER_S)

    def as_document(self) -> dict[str, Any]:
        """Return how complete the fleet is, as of the last update: ``get('fleet_status')``."""
        known = {state.name.lower(): self.counts.get(state, 0) for state in DaemonState}
        return {"filling": self.filling, "known": sum(known.values()), **known}

    # -- messages of a daemon -------------------------------------------------------------------

    def open(
        self, request: OpenRequest, stream: DaemonStream, *, client: str = "", owner: bool = True
    ) -> Daemon:
        """Admit a daemon. An older stream of this daemon, or of another with its name, is ended.

        ``client`` is who reports. A daemon of another client keeps its name, unless the name is
        this client's own (``owner``).

        Raises:
            NotAuthorizedError: The name is in use by another client.
            ReportRefusedError: A field of the request is invalid.
            ReportLimitError: There are too many daemons, or a field is too long.
            ReplacedError: It lost its name to another program a moment ago.

        """
        name = checked_name(request.kind, request.id)
        checked_text("host", request.host)
        checked_text("version", request.version)
        checked_incarnation(request.incarnation)
        metadata = checked_texts("metadata", request.metadata)
        commands = checked_commands(request.commands)
        daemon = self.daemons.get(name)
        if daemon is None:
            daemon = self._admit(name)
        else:
            if not owner and daemon.record.client not in {"", client}:
                raise NotAuthorizedError(
                    f"{name} reports as client '{daemon.record.client}', and '{client}' may not "
                    f"take its place: 'mgrctl daemon rm {name}' frees the name"
                )
            self._supersede(daemon, request, stream)
        if daemon.incarnation != request.incarnation:
            self._reset(daemon, request.incarnation)
        daemon.stream = stream
        self.streams_opened += 1
        daemon.commands = commands
        daemon.last_message_s = self._clock.now()
        daemon.clock_off_s = 0.0 if request.clock is None else request.clock - wall_s()
        self._set_reporting(daemon)
        if daemon.clock_is_off:
            self._log.add_clock_off(daemon)
        self._set_record(
            daemon,
            DaemonRecord(
                host=request.host,
                version=request.version,
                metadata=metadata,
                since=daemon.record.since or timestamp(),
                client=client,
            ),
        )
        return daemon

    def find_schema(
        self, daemon: Daemon, stream: DaemonStream, declaration: bytes, *, count: int, replace: bool
    ) -> Schema | None:
        """Return the schema after ``declaration`` of ``count`` counters, None if it is not known.

        Of ten thousand daemons of one type only the declaration of the first has to be parsed.

        Raises:
            ReportLimitError: Too many counters, or too many messages.
            ReplacedError: The stream was replaced.

        """
        self.on_message(daemon, stream)
        before = NOTHING_DECLARED if replace else daemon.ring.schema
        check_count(before, count, self.options.counters_max)
        return self._schemas.find(before, declaration)

    def extend_schema(
        self, daemon: Daemon, declaration: bytes, counters: Sequence[Counter], *, replace: bool
    ) -> Schema:
        """Return the schema after ``declaration``, which adds ``counters``.

        Raises:
            ReportRefusedError: Two counters are the same; see ``Schema``.
            ReportLimitError: Too many values.

        """
        before = NOTHING_DECLARED if replace else daemon.ring.schema
        schema = self._schemas.extend(before, declaration, counters)
        check_width(schema, self.options.counters_max)
        return schema

    def declare(
        self, daemon: Daemon, stream: DaemonStream, schema: Schema, *, replace: bool
    ) -> None:
        """Set the daemon's schema. Counters that it had before keep their points.

        Raises:
            ReportLimitError: The fleet would report more values than ``values_max`` allows.
            ReplacedError: The stream was replaced.

        """
        self._check_stream(daemon, stream)
        values = self.values + schema.width - daemon.ring.schema.width
        if values > max(self.options.values_max, self.values):
            raise ReportLimitError(
                "fleet",
                f"with these counters the fleet reports {values} values; "
                f"mgr_fleet_values_max allows {self.options.values_max}",
            )
        if schema is not daemon.ring.schema:
            self._set_ring(daemon, Ring(schema) if replace else daemon.ring.with_schema(schema))

    def _set_ring(self, daemon: Daemon, ring: Ring) -> None:
        self.values += ring.schema.width - daemon.ring.schema.width
        daemon.ring = ring
        self.on_declared()

    def report(
        self,
        daemon: Daemon,
        stream: DaemonStream,
        values: Sequence[float],
        status: DaemonStatus | None = None,
    ) -> None:
        """Store the values of all counters and the status.

        Without values the report is only a sign of life.

        Raises:
            ReportRefusedError: The values do not fit the schema, or see ``set_status``.
                Nothing is stored.
            ReportLimitError: Reports come too fast, or are too large.
            ReplacedError: The stream was replaced.

        """
        self.on_message(daemon, stream)
        if values:
            daemon.ring.schema.check(values)
        if status is not None:
            self.set_status(daemon, status)
        daemon.reported_at = at = wall_s()
        if values:
            daemon.ring.add(at, values)

    def set_status(self, daemon: Daemon, status: DaemonStatus) -> None:
        """Replace the fields set in ``status``; none of them if one is invalid.

        Raises:
            ReportRefusedError: A field is invalid; see ``mgr.cluster.validation``.
            ReportLimitError: A field is too large.

        """
        checked = checked_daemon_status(status)
        if checked.status is not None:
            daemon.status = checked.status
        if checked.task_status is not None and checked.task_status != daemon.task_status:
            daemon.task_status = checked.task_status
            self.tasks_generation += 1
        if checked.metrics is not None:
            daemon.metrics = checked.metrics
        if checked.devices is not None and checked.devices != daemon.devices:
            daemon.devices = checked.devices
            self.devices_generation += 1

    def on_stream_lost(self, daemon: Daemon, stream: DaemonStream) -> None:
        """Note that the stream ended without a close: the daemon is silent after its grace."""
        self.streams_ended += 1
        if daemon.stream is stream:
            daemon.stream = None

    def close(self, daemon: Daemon, stream: DaemonStream) -> None:
        """Remove a daemon that leaves for good, unless another stream took its name."""
        if daemon.stream is stream:
            self.forget(daemon.name)

    def forget(self, name: str) -> bool:
        """Remove a daemon; return whether it was known. The caller ends its stream.

        Await ``wait_stored`` before the removal is acknowledged.
        """
        daemon = self.daemons.pop(name, None)
        if daemon is None:
            return False
        daemon.stream = None
        self.values -= daemon.ring.schema.width
        self._awaited.discard(name)
        self._notify(name)
        return True

    def on_stream_ended(self, error: MgrError) -> None:
        """Count a stream that the manager ended with ``error``."""
        if isinstance(error, ReportRefusedError):
            self._on_refusal(error.rule)
        else:
            self._on_refusal(error.reason.lower())

    def on_stream_broken(self) -> None:
        """Count a stream that broke: the daemon or the network failed, or gRPC ended the stream.

        gRPC does that after a message above ``grpc_message_bytes_max``.
        """
        self._on_refusal("broke_off")

    # -- time passes ----------------------------------------------------------------------------

    def update_states(self) -> None:
        """Update which daemons are silent, absent or pruned. Call it about once a second."""
        now_s = self._clock.now()
        options = self.options
        grace_s, prune_s = options.grace_s, max(options.prune_s, options.grace_s)
        filled = now_s >= self._fill_until_s
        beacon_s = max(options.beacon_grace_s, grace_s)
        newly_silent, pruned, absent = [], [], set()
        for daemon in list(self.daemons.values()):
            age_s = now_s - daemon.last_message_s
            if (
                daemon.name_conflict_s is not None
                and now_s - daemon.name_conflict_s > NAME_CONFLICT_SHOWN_S
            ):
                daemon.name_conflict_s, daemon.replaced = None, ()
            if age_s > beacon_s:
                absent.add(daemon.name)
            if age_s > prune_s:
                pruned.append(daemon.name)
                self._prune(daemon, age_s)
            elif daemon.state is not DaemonState.SILENT:
                awaited = daemon.state is DaemonState.AWAITED
                # An awaited one is silent only after the whole fleet had time to come back.
                if filled if awaited else age_s > grace_s:
                    newly_silent.append(daemon.name)
                    daemon.state = DaemonState.SILENT
                    self._store_silence(daemon, silent_s=age_s)
            elif age_s - daemon.record.silent_s > prune_s / SILENCE_WRITES:
                self._store_silence(daemon, silent_s=age_s)
        if filled:
            self._awaited.clear()
        if absent != self.absent:
            self.absent = frozenset(absent)
        self._log.write(silent=newly_silent, pruned=pruned)
        self.counts = Tally(daemon.state for daemon in self.daemons.values())
        self.health = fleet_health_of(self.daemons.values())

    # -- inside ---------------------------------------------------------------------------------

    def _admit(self, name: str) -> Daemon:
        if len(self.daemons) >= self.options.daemons_max:
            raise ReportLimitError(
                "daemons", f"{self.options.daemons_max} daemons are known, and no more are let in"
            )
        unknown = DaemonRecord(host="", version="", metadata={}, since="")
        now_s = self._clock.now()
        daemon = Daemon(name, unknown, last_message_s=now_s, messages=MESSAGES_AT_ONCE)
        self.daemons[name] = daemon
        return daemon

    def _supersede(self, daemon: Daemon, request: OpenRequest, stream: DaemonStream) -> None:
        if request.incarnation in daemon.replaced:
            # It may not have received the reason why its stream ended. If it were admitted, it
            # would take the name back, and the two programs would take turns.
            raise ReplacedError(f"another program has the name {daemon.name}")
        older = daemon.stream
        if older is None or older is stream:
            return
        if daemon.incarnation != request.incarnation:
            daemon.name_conflict_s = self._clock.now()
            daemon.replaced = (*daemon.replaced, daemon.incarnation)[-REPLACED_MAX:]
            self._log.name_taken(daemon, request.host)
        daemon.stream = None
        older.end(ReplacedError(f"another stream was opened for {daemon.name}"))

    def _reset(self, daemon: Daemon, incarnation: str) -> None:
        daemon.incarnation = incarnation
        self.generation += 1
        self._set_ring(daemon, NO_POINTS)
        daemon.reported_at = None
        daemon.metrics = ()
        self.tasks_generation += bool(daemon.task_status)
        self.devices_generation += bool(daemon.devices)
        daemon.status, daemon.task_status, daemon.devices = {}, {}, ()

    def _set_record(self, daemon: Daemon, record: DaemonRecord) -> None:
        if record != daemon.record:
            daemon.record = record
            self._notify(daemon.name)

    def _store_silence(self, daemon: Daemon, *, silent_s: float) -> None:
        """Store how long the daemon is silent. ``generation`` stays: no document contains it."""
        daemon.record = msgspec.structs.replace(daemon.record, silent_s=round(silent_s, 1))
        for listener in self._on_record_change:
            listener(daemon.name)

    def _check_stream(self, daemon: Daemon, stream: DaemonStream) -> None:
        if daemon.stream is not stream:
            raise ReplacedError(f"another stream was opened for {daemon.name}, or it was removed")

    def on_message(self, daemon: Daemon, stream: DaemonStream) -> None:
        """Note that the daemon sent a message of any kind.

        Raises:
            ReportLimitError: Messages come too fast.
            ReplacedError: The stream was replaced.

        """
        self._check_stream(daemon, stream)
        now_s = self._clock.now()
        rate = MESSAGES_PER_PERIOD / self.options.report_config.period_s
        left = daemon.messages_left + (now_s - daemon.last_message_s) * rate
        if left < 1:
            raise ReportLimitError(
                "rate", f"reports every {self.options.report_config.period_s:g} s were asked for"
            )
        daemon.messages_left = min(left, MESSAGES_AT_ONCE) - 1
        daemon.last_message_s = now_s
        if daemon.state is not DaemonState.REPORTING:
            self._set_reporting(daemon)

    def _set_reporting(self, daemon: Daemon) -> None:
        if daemon.state is DaemonState.SILENT:
            self._log.add_returned(daemon)
        daemon.state = DaemonState.REPORTING
        self._awaited.discard(daemon.name)
        if daemon.record.silent_s:
            self._store_silence(daemon, silent_s=0.0)

    def _prune(self, daemon: Daemon, age_s: float) -> None:
        stream = daemon.stream
        self.forget(daemon.name)
        if stream is not None:
            stream.end(
                DeadlineExceededError(f"no report for {age_s:.0f} s: {daemon.name} is forgotten")
            )

    def _notify(self, name: str) -> None:
        self.generation += 1
        for listener in self._on_record_change:
            listener(name)


async def _not_stored(_name: str) -> None:
    """Return at once: this fleet lives in memory only."""
