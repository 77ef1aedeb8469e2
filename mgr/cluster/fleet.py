"""The fleet: every daemon that reports, or did, or is waited for. State only: no I/O, no task.

A daemon is known from its first ``open`` until it leaves (``close``), is removed, or is silent for
too long. That it exists is stored and survives a failover; what it counts lives in memory and comes
back with its next report (docs/adr/0030). Right after a failover everybody is awaited, and nobody
is called silent before the whole fleet has had its time to come back.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from mgr.clock import Clock, timestamp, wall_s
from mgr.cluster.counters import EMPTY as NOTHING_DECLARED
from mgr.cluster.counters import NO_POINTS, Counter, Ring, Schema, Schemas
from mgr.cluster.daemon import Daemon, DaemonState, DaemonStatus, DaemonStream, OpenRequest
from mgr.cluster.daemon_record import DaemonRecord
from mgr.cluster.fleet_health import FleetHealth, fleet_health_of
from mgr.cluster.fleet_options import FleetOptions
from mgr.cluster.log import ClusterLog, Priority
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
    ReplacedError,
    ReportLimitError,
    ReportRefusedError,
)

ARRIVALS_PER_S: Final = 1000
"""How many daemons may come back in a second: what the spread of a fleet is made of."""
REJOIN_MIN_S: Final = 1.0
NAME_CONFLICT_SHOWN_S: Final = 300.0
"""How long health shows that two programs had one name."""
REPLACED_MAX: Final = 8
"""Programs remembered that lost a daemon's name; they do not get it back in this time."""
SILENCE_WRITES: Final = 8
"""How often a daemon's silence is written until it is forgotten: what a failover forgets of it is
less than this part."""
NAMED_MAX: Final = 10
"""Daemons named in one line of the cluster log."""


class Fleet:
    """Every daemon of one term, by name. Changed on the loop only; readable from any thread.

    Attributes:
        daemons: Read it by key, or copy it (``list(fleet.daemons.values())``) to walk over it.
        generation: Grows whenever somebody comes, goes or says something else of itself.
        tasks_generation: Grows whenever the status of somebody's tasks changes.
        devices_generation: Grows whenever a list of devices changes.
        values: In one report of each daemon, over all.
        absent: Who is silent for so long that it is no service any more.
        streams_opened: How many daemons were let in, in all, each time anew.
        streams_ended: How many of these streams are over.
        wait_stored: Waits until the store holds what is known of a name, its removal included.

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
        """Begin with nobody, in ``term``; lines in ``log`` are said by ``name`` (``mgr.a``).

        ``on_refusal`` is told the rule that a daemon broke.
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
        self.health = FleetHealth()
        self.absent: frozenset[str] = frozenset()
        self.counts: Mapping[DaemonState, int] = {}
        self._clock = clock
        self._log = log
        self._name = name
        self._on_refusal = on_refusal
        self._schemas = Schemas()
        self._fill_until_s = clock.now()
        self._awaited: set[str] = set()
        # Said with the next look: ten thousand that come back are one line, not as many.
        self._returned: list[str] = []
        self._clocks_off: list[str] = []
        self._on_record_change: list[Callable[[str], None]] = []

    # -- who there is ---------------------------------------------------------------------------

    def expect(self, records: Mapping[str, DaemonRecord]) -> None:
        """Await ``records``, by name: those that were there before this term.

        Who was silent then still is, and for as long as is known: a fleet whose active changes
        daily forgets its dead all the same.
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
        """Go by ``options`` from now on; a grace that became shorter begins now."""
        if options.grace_s < self.options.grace_s:
            now_s = self._clock.now()
            for daemon in self.daemons.values():
                daemon.last_message_s = (
                    now_s if daemon.state is DaemonState.REPORTING else daemon.last_message_s
                )
        self.options = options

    def on_record_change(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each name whose record is new, other than before, or gone."""
        self._on_record_change.append(listener)

    @property
    def filling(self) -> bool:
        """Whether daemons from before a failover may still be on their way."""
        return bool(self._awaited) and self._clock.now() < self._fill_until_s

    @property
    def awaited(self) -> int:
        """How many of them are not back."""
        return len(self._awaited)

    @property
    def rejoin_within_s(self) -> float:
        """Over how many seconds daemons that lost the manager should spread their return."""
        return max(REJOIN_MIN_S, len(self.daemons) / ARRIVALS_PER_S)

    def as_document(self) -> dict[str, Any]:
        """How complete the picture is, as of the last update: ``get('fleet_status')``."""
        known = {state.name.lower(): self.counts.get(state, 0) for state in DaemonState}
        return {"filling": self.filling, "known": sum(known.values()), **known}

    # -- what a daemon says ---------------------------------------------------------------------

    def open(self, request: OpenRequest, stream: DaemonStream) -> Daemon:
        """Let a daemon in. A stream that it, or another program of its name, has is ended.

        Raises:
            ReportRefusedError: It says what cannot be.
            ReportLimitError: There are too many daemons, or it says too much of itself.
            ReplacedError: It has lost its name to another program a moment ago.

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
            self._supersede(daemon, request, stream)
        if daemon.incarnation != request.incarnation:
            self._reset(daemon, request.incarnation)
        daemon.stream = stream
        self.streams_opened += 1
        daemon.commands = commands
        daemon.last_message_s = self._clock.now()
        daemon.clock_off_s = 0.0 if request.clock is None else request.clock - wall_s()
        self._set_reporting(daemon)
        self._note_clock(daemon)
        self._set_record(
            daemon,
            DaemonRecord(
                host=request.host,
                version=request.version,
                metadata=metadata,
                since=daemon.record.since or timestamp(),
            ),
        )
        return daemon

    def find_schema(
        self, daemon: Daemon, stream: DaemonStream, declaration: bytes, *, count: int, replace: bool
    ) -> Schema | None:
        """What ``declaration``, of ``count`` counters, makes of the daemon's, if that is known.

        Of ten thousand daemons of one kind only the first one's has to be read.

        Raises:
            ReportLimitError: Too many counters, or too many messages.
            ReplacedError: The stream is over.

        """
        self.on_message(daemon, stream)
        before = NOTHING_DECLARED if replace else daemon.ring.schema
        check_count(before, count, self.options.counters_max)
        return self._schemas.find(before, declaration)

    def extend_schema(
        self, daemon: Daemon, declaration: bytes, counters: Sequence[Counter], *, replace: bool
    ) -> Schema:
        """What ``declaration``, which says ``counters``, makes of the daemon's.

        Raises:
            ReportRefusedError: See ``Schema``.
            ReportLimitError: Too many values.

        """
        before = NOTHING_DECLARED if replace else daemon.ring.schema
        schema = self._schemas.extend(before, declaration, counters)
        check_width(schema, self.options.counters_max)
        return schema

    def declare(
        self, daemon: Daemon, stream: DaemonStream, schema: Schema, *, replace: bool
    ) -> None:
        """Have the daemon count ``schema`` from now on; points of what it counted before stay.

        Raises:
            ReportLimitError: With this the fleet reports more than there is to be memory for.
            ReplacedError: The stream is over.

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
            self._count(daemon, Ring(schema) if replace else daemon.ring.with_schema(schema))

    def _count(self, daemon: Daemon, ring: Ring) -> None:
        self.values += ring.schema.width - daemon.ring.schema.width
        daemon.ring = ring

    def report(
        self,
        daemon: Daemon,
        stream: DaemonStream,
        values: Sequence[float],
        status: DaemonStatus | None = None,
    ) -> None:
        """Take the values of all counters (none: it only shows that it lives) and what it says.

        Raises:
            ReportRefusedError: They do not fit what was declared, or see ``set_status``.
                Nothing is kept.
            ReportLimitError: Reports come too fast, or say too much.
            ReplacedError: The stream is over.

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
        """Replace what ``status`` holds: all of it, or nothing if one thing cannot be.

        Raises:
            ReportRefusedError: It says what cannot be; see ``mgr.cluster.validation``.
            ReportLimitError: It says too much.

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
        """Its stream ended without a word: it is missed once its grace has passed."""
        self.streams_ended += 1
        if daemon.stream is stream:
            daemon.stream = None

    def close(self, daemon: Daemon, stream: DaemonStream) -> None:
        """It leaves for good."""
        if daemon.stream is stream:
            self.forget(daemon.name)

    def forget(self, name: str) -> bool:
        """Know it no longer; whether it was known. Its stream is the caller's business.

        Wait for ``wait_stored`` before it is acknowledged.
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
        """A stream was ended with ``error``: count it if the daemon is to blame."""
        if isinstance(error, ReportRefusedError):
            self._on_refusal(error.rule)
        else:
            self._on_refusal(error.reason.lower())

    def on_stream_broken(self) -> None:
        """A stream ended without a word: the daemon died, the network did, or gRPC cut it off.

        The last is what happens to a message above ``grpc_message_bytes_max``.
        """
        self._on_refusal("broke_off")

    # -- time passes ----------------------------------------------------------------------------

    def update_states(self) -> None:
        """Find out who is silent and who is forgotten; call it every second or so."""
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
        self._log_daemons("silent", newly_silent, Priority.WARNING)
        self._log_daemons("forgotten after a long silence", pruned, Priority.WARNING)
        self._log_daemons("reporting again", self._returned, Priority.INFO)
        self._log_daemons("here with a clock that is off", self._clocks_off, Priority.WARNING)
        self._returned, self._clocks_off = [], []
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
            # It may not have heard why its stream ended. Let in, it would take the name back, and
            # lose it again.
            raise ReplacedError(f"another program has the name {daemon.name}")
        older = daemon.stream
        if older is None or older is stream:
            return
        if daemon.incarnation != request.incarnation:
            daemon.name_conflict_s = self._clock.now()
            daemon.replaced = (*daemon.replaced, daemon.incarnation)[-REPLACED_MAX:]
            self._add(
                f"{daemon.name} on '{request.host}' takes the place of another program of that "
                f"name, on '{daemon.record.host}'",
                Priority.WARNING,
            )
        daemon.stream = None
        older.end(ReplacedError(f"another stream was opened for {daemon.name}"))

    def _reset(self, daemon: Daemon, incarnation: str) -> None:
        daemon.incarnation = incarnation
        self.generation += 1
        self._count(daemon, NO_POINTS)
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
        """Have it stored how long the daemon is silent; readers see nothing of it."""
        daemon.record = msgspec.structs.replace(daemon.record, silent_s=round(silent_s, 1))
        for listener in self._on_record_change:
            listener(daemon.name)

    def _check_stream(self, daemon: Daemon, stream: DaemonStream) -> None:
        if daemon.stream is not stream:
            raise ReplacedError(f"another stream was opened for {daemon.name}, or it was removed")

    def on_message(self, daemon: Daemon, stream: DaemonStream) -> None:
        """It sent a message, whatever that says.

        Raises:
            ReportLimitError: They come too fast.
            ReplacedError: The stream is over.

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
            self._returned.append(daemon.name)
        daemon.state = DaemonState.REPORTING
        self._awaited.discard(daemon.name)
        if daemon.record.silent_s:
            self._store_silence(daemon, silent_s=0.0)

    def _note_clock(self, daemon: Daemon) -> None:
        off_s = daemon.clock_off_s
        if daemon.clock_is_off:
            which = "ahead" if off_s > 0 else "behind"
            self._clocks_off.append(f"{daemon.name} ({abs(off_s):.0f} s {which})")

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

    def _log_daemons(self, what: str, names: Iterable[str], priority: Priority) -> None:
        if names := sorted(names):
            more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
            are = "is" if len(names) == 1 else "are"
            self._add(f"{', '.join(names[:NAMED_MAX])}{more} {are} {what}", priority)

    def _add(self, message: str, priority: Priority) -> None:
        self._log.add(message, name=self._name, priority=priority)


async def _not_stored(_name: str) -> None:
    """Return at once: this fleet lives in memory only."""
