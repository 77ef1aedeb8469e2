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
from mgr.cluster.daemon import Daemon, Line, Opening, Saying, State
from mgr.cluster.daemon_record import Member
from mgr.cluster.fleet_health import Findings, findings_in
from mgr.cluster.fleet_options import Tuning
from mgr.cluster.log import ClusterLog, Priority
from mgr.cluster.validation import (
    MESSAGES_AT_ONCE,
    MESSAGES_PER_PERIOD,
    check_count,
    check_width,
    checked_commands,
    checked_incarnation,
    checked_name,
    checked_saying,
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
CONTESTED_S: Final = 300.0
"""How long health shows that two programs had one name."""
OUSTED_MAX: Final = 8
"""Programs remembered that lost a daemon's name; they do not get it back in this time."""
SILENCE_KEPT: Final = 8
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
        gone: Who is silent for so long that it is no service any more.
        streams_opened: How many daemons were let in, in all, each time anew.
        streams_ended: How many of these streams are over.
        stored: Waits until the store holds what is known of a name, its removal included.

    """

    def __init__(
        self,
        clock: Clock,
        log: ClusterLog,
        *,
        term: int,
        name: str,
        refused: Callable[[str], None],
    ) -> None:
        """Begin with nobody, in ``term``; lines in ``log`` are said by ``name`` (``mgr.a``).

        ``refused`` is told the rule that a daemon broke.
        """
        self.term: Final = term
        self.tuning = Tuning()
        self.daemons: dict[str, Daemon] = {}
        self.generation = 0
        self.tasks_generation = 0
        self.devices_generation = 0
        self.values = 0
        self.streams_opened = 0
        self.streams_ended = 0
        self.stored: Callable[[str], Awaitable[None]] = _not_stored
        self.findings = Findings()
        self.gone: frozenset[str] = frozenset()
        self.counts: Mapping[State, int] = {}
        self._clock = clock
        self._log = log
        self._name = name
        self._refused = refused
        self._schemas = Schemas()
        self._fill_until_s = clock.now()
        self._awaited: set[str] = set()
        # Said with the next look: ten thousand that come back are one line, not as many.
        self._returned: list[str] = []
        self._off: list[str] = []
        self._on_member: list[Callable[[str], None]] = []

    # -- who there is ---------------------------------------------------------------------------

    def expect(self, members: Mapping[str, Member]) -> None:
        """Await ``members``, by name: those that were there before this term.

        Who was silent then still is, and for as long as is known: a fleet whose active changes
        daily forgets its dead all the same.
        """
        now_s = self._clock.now()
        for name, member in members.items():
            heard_s = now_s - member.silent_s
            daemon = Daemon(name, member, heard_s=heard_s, messages=MESSAGES_AT_ONCE)
            daemon.state = State.SILENT if member.silent_s else State.AWAITED
            self.daemons[name] = daemon
        self._awaited = {name for name, member in members.items() if not member.silent_s}
        self._fill_until_s = now_s + self.rejoin_within_s + self.tuning.grace_s
        self.generation += 1
        self.look()

    def tune(self, tuning: Tuning) -> None:
        """Go by ``tuning`` from now on; a grace that became shorter begins now."""
        if tuning.grace_s < self.tuning.grace_s:
            now_s = self._clock.now()
            for daemon in self.daemons.values():
                daemon.heard_s = now_s if daemon.state is State.REPORTING else daemon.heard_s
        self.tuning = tuning

    def on_member(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each name whose member is new, other than before, or gone."""
        self._on_member.append(listener)

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
        """How complete the picture is, as of the last ``look``: ``get('fleet_status')``."""
        known = {state.name.lower(): self.counts.get(state, 0) for state in State}
        return {"filling": self.filling, "known": sum(known.values()), **known}

    # -- what a daemon says ---------------------------------------------------------------------

    def open(self, opening: Opening, line: Line) -> Daemon:
        """Let a daemon in. A stream that it, or another program of its name, has is ended.

        Raises:
            ReportRefusedError: It says what cannot be.
            ReportLimitError: There are too many daemons, or it says too much of itself.
            ReplacedError: It has lost its name to another program a moment ago.

        """
        name = checked_name(opening.kind, opening.id)
        checked_text("host", opening.host)
        checked_text("version", opening.version)
        checked_incarnation(opening.incarnation)
        metadata = checked_texts("metadata", opening.metadata)
        commands = checked_commands(opening.commands)
        daemon = self.daemons.get(name)
        if daemon is None:
            daemon = self._admit(name)
        else:
            self._supersede(daemon, opening, line)
        if daemon.incarnation != opening.incarnation:
            self._begin_anew(daemon, opening.incarnation)
        daemon.line = line
        self.streams_opened += 1
        daemon.commands = commands
        daemon.heard_s = self._clock.now()
        daemon.clock_off_s = 0.0 if opening.clock is None else opening.clock - wall_s()
        self._here(daemon)
        self._note_clock(daemon)
        self._introduce(
            daemon,
            Member(
                host=opening.host,
                version=opening.version,
                metadata=metadata,
                since=daemon.member.since or timestamp(),
            ),
        )
        return daemon

    def known(
        self, daemon: Daemon, line: Line, declaration: bytes, *, count: int, anew: bool
    ) -> Schema | None:
        """What ``declaration``, of ``count`` counters, makes of the daemon's, if that is known.

        Of ten thousand daemons of one kind only the first one's has to be read.

        Raises:
            ReportLimitError: Too many counters, or too many messages.
            ReplacedError: The stream is over.

        """
        self.heard(daemon, line)
        before = NOTHING_DECLARED if anew else daemon.ring.schema
        check_count(before, count, self.tuning.counters_max)
        return self._schemas.known(before, declaration)

    def extended(
        self, daemon: Daemon, declaration: bytes, counters: Sequence[Counter], *, anew: bool
    ) -> Schema:
        """What ``declaration``, which says ``counters``, makes of the daemon's.

        Raises:
            ReportRefusedError: See ``Schema``.
            ReportLimitError: Too many values.

        """
        before = NOTHING_DECLARED if anew else daemon.ring.schema
        schema = self._schemas.extended(before, declaration, counters)
        check_width(schema, self.tuning.counters_max)
        return schema

    def declare(self, daemon: Daemon, line: Line, schema: Schema, *, anew: bool) -> None:
        """Have the daemon count ``schema`` from now on; points of what it counted before stay.

        Raises:
            ReportLimitError: With this the fleet reports more than there is to be memory for.
            ReplacedError: The stream is over.

        """
        self._check_line(daemon, line)
        values = self.values + schema.width - daemon.ring.schema.width
        if values > max(self.tuning.values_max, self.values):
            raise ReportLimitError(
                "fleet",
                f"with these counters the fleet reports {values} values; "
                f"mgr_fleet_values_max allows {self.tuning.values_max}",
            )
        if schema is not daemon.ring.schema:
            self._count(daemon, Ring(schema) if anew else daemon.ring.extended(schema))

    def _count(self, daemon: Daemon, ring: Ring) -> None:
        self.values += ring.schema.width - daemon.ring.schema.width
        daemon.ring = ring

    def report(
        self, daemon: Daemon, line: Line, values: Sequence[float], saying: Saying | None = None
    ) -> None:
        """Take the values of all counters (none: it only shows that it lives) and what it says.

        Raises:
            ReportRefusedError: They do not fit what was declared, or see ``say``. Nothing is kept.
            ReportLimitError: Reports come too fast, or say too much.
            ReplacedError: The stream is over.

        """
        self.heard(daemon, line)
        if values:
            daemon.ring.schema.check(values)
        if saying is not None:
            self.say(daemon, saying)
        daemon.reported_at = at = wall_s()
        if values:
            daemon.ring.add(at, values)

    def say(self, daemon: Daemon, saying: Saying) -> None:
        """Replace what ``saying`` holds: all of it, or nothing if one thing cannot be.

        Raises:
            ReportRefusedError: It says what cannot be; see ``mgr.cluster.validation``.
            ReportLimitError: It says too much.

        """
        said = checked_saying(saying)
        if said.status is not None:
            daemon.status = said.status
        if said.task_status is not None and said.task_status != daemon.task_status:
            daemon.task_status = said.task_status
            self.tasks_generation += 1
        if said.metrics is not None:
            daemon.metrics = said.metrics
        if said.devices is not None and said.devices != daemon.devices:
            daemon.devices = said.devices
            self.devices_generation += 1

    def lost(self, daemon: Daemon, line: Line) -> None:
        """Its stream ended without a word: it is missed once its grace has passed."""
        self.streams_ended += 1
        if daemon.line is line:
            daemon.line = None

    def close(self, daemon: Daemon, line: Line) -> None:
        """It leaves for good."""
        if daemon.line is line:
            self.forget(daemon.name)

    def forget(self, name: str) -> bool:
        """Know it no longer; whether it was known. Its stream is the caller's business.

        Wait for ``stored`` before it is acknowledged.
        """
        daemon = self.daemons.pop(name, None)
        if daemon is None:
            return False
        daemon.line = None
        self.values -= daemon.ring.schema.width
        self._awaited.discard(name)
        self._tell(name)
        return True

    def ended(self, error: MgrError) -> None:
        """A stream was ended with ``error``: count it if the daemon is to blame."""
        if isinstance(error, ReportRefusedError):
            self._refused(error.rule)
        else:
            self._refused(error.reason.lower())

    def broke_off(self) -> None:
        """A stream ended without a word: the daemon died, the network did, or gRPC cut it off.

        The last is what happens to a message above ``grpc_message_bytes_max``.
        """
        self._refused("broke_off")

    # -- time passes ----------------------------------------------------------------------------

    def look(self) -> None:
        """Find out who is silent and who is forgotten; call it every second or so."""
        now_s = self._clock.now()
        tuning = self.tuning
        grace_s, prune_s = tuning.grace_s, max(tuning.prune_s, tuning.grace_s)
        filled = now_s >= self._fill_until_s
        beacon_s = max(tuning.beacon_grace_s, grace_s)
        fallen, pruned, gone = [], [], set()
        for daemon in list(self.daemons.values()):
            age_s = now_s - daemon.heard_s
            if daemon.contested_s is not None and now_s - daemon.contested_s > CONTESTED_S:
                daemon.contested_s, daemon.ousted = None, ()
            if age_s > beacon_s:
                gone.add(daemon.name)
            if age_s > prune_s:
                pruned.append(daemon.name)
                self._prune(daemon, age_s)
            elif daemon.state is not State.SILENT:
                awaited = daemon.state is State.AWAITED
                if filled if awaited else age_s > grace_s:
                    fallen.append(daemon.name)
                    daemon.state = State.SILENT
                    self._keep(daemon, silent_s=age_s)
            elif age_s - daemon.member.silent_s > prune_s / SILENCE_KEPT:
                self._keep(daemon, silent_s=age_s)
        if filled:
            self._awaited.clear()
        if gone != self.gone:
            self.gone = frozenset(gone)
        self._say("silent", fallen, Priority.WARNING)
        self._say("forgotten after a long silence", pruned, Priority.WARNING)
        self._say("reporting again", self._returned, Priority.INFO)
        self._say("here with a clock that is off", self._off, Priority.WARNING)
        self._returned, self._off = [], []
        self.counts = Tally(daemon.state for daemon in self.daemons.values())
        self.findings = findings_in(self.daemons.values())

    # -- inside ---------------------------------------------------------------------------------

    def _admit(self, name: str) -> Daemon:
        if len(self.daemons) >= self.tuning.daemons_max:
            raise ReportLimitError(
                "daemons", f"{self.tuning.daemons_max} daemons are known, and no more are let in"
            )
        unknown = Member(host="", version="", metadata={}, since="")
        now_s = self._clock.now()
        daemon = Daemon(name, unknown, heard_s=now_s, messages=MESSAGES_AT_ONCE)
        self.daemons[name] = daemon
        return daemon

    def _supersede(self, daemon: Daemon, opening: Opening, line: Line) -> None:
        if opening.incarnation in daemon.ousted:
            # It may not have heard why its stream ended. Let in, it would take the name back, and
            # lose it again.
            raise ReplacedError(f"another program has the name {daemon.name}")
        older = daemon.line
        if older is None or older is line:
            return
        if daemon.incarnation != opening.incarnation:
            daemon.contested_s = self._clock.now()
            daemon.ousted = (*daemon.ousted, daemon.incarnation)[-OUSTED_MAX:]
            self._add(
                f"{daemon.name} on '{opening.host}' takes the place of another program of that "
                f"name, on '{daemon.member.host}'",
                Priority.WARNING,
            )
        daemon.line = None
        older.end(ReplacedError(f"another stream was opened for {daemon.name}"))

    def _begin_anew(self, daemon: Daemon, incarnation: str) -> None:
        daemon.incarnation = incarnation
        self.generation += 1
        self._count(daemon, NO_POINTS)
        daemon.reported_at = None
        daemon.metrics = ()
        self.tasks_generation += bool(daemon.task_status)
        self.devices_generation += bool(daemon.devices)
        daemon.status, daemon.task_status, daemon.devices = {}, {}, ()

    def _introduce(self, daemon: Daemon, member: Member) -> None:
        if member != daemon.member:
            daemon.member = member
            self._tell(daemon.name)

    def _keep(self, daemon: Daemon, *, silent_s: float) -> None:
        """Have it stored how long the daemon is silent; readers see nothing of it."""
        daemon.member = msgspec.structs.replace(daemon.member, silent_s=round(silent_s, 1))
        for listener in self._on_member:
            listener(daemon.name)

    def _check_line(self, daemon: Daemon, line: Line) -> None:
        if daemon.line is not line:
            raise ReplacedError(f"another stream was opened for {daemon.name}, or it was removed")

    def heard(self, daemon: Daemon, line: Line) -> None:
        """It sent a message, whatever that says.

        Raises:
            ReportLimitError: They come too fast.
            ReplacedError: The stream is over.

        """
        self._check_line(daemon, line)
        now_s = self._clock.now()
        rate = MESSAGES_PER_PERIOD / self.tuning.wanted.period_s
        left = daemon.messages_left + (now_s - daemon.heard_s) * rate
        if left < 1:
            raise ReportLimitError(
                "rate", f"reports every {self.tuning.wanted.period_s:g} s were asked for"
            )
        daemon.messages_left = min(left, MESSAGES_AT_ONCE) - 1
        daemon.heard_s = now_s
        if daemon.state is not State.REPORTING:
            self._here(daemon)

    def _here(self, daemon: Daemon) -> None:
        if daemon.state is State.SILENT:
            self._returned.append(daemon.name)
        daemon.state = State.REPORTING
        self._awaited.discard(daemon.name)
        if daemon.member.silent_s:
            self._keep(daemon, silent_s=0.0)

    def _note_clock(self, daemon: Daemon) -> None:
        off_s = daemon.clock_off_s
        if daemon.clock_is_off:
            which = "ahead" if off_s > 0 else "behind"
            self._off.append(f"{daemon.name} ({abs(off_s):.0f} s {which})")

    def _prune(self, daemon: Daemon, age_s: float) -> None:
        line = daemon.line
        self.forget(daemon.name)
        if line is not None:
            line.end(
                DeadlineExceededError(f"no report for {age_s:.0f} s: {daemon.name} is forgotten")
            )

    def _tell(self, name: str) -> None:
        self.generation += 1
        for listener in self._on_member:
            listener(name)

    def _say(self, what: str, names: Iterable[str], priority: Priority) -> None:
        if names := sorted(names):
            more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
            are = "is" if len(names) == 1 else "are"
            self._add(f"{', '.join(names[:NAMED_MAX])}{more} {are} {what}", priority)

    def _add(self, message: str, priority: Priority) -> None:
        self._log.add(message, name=self._name, priority=priority)


async def _not_stored(_name: str) -> None:
    """Return at once: this fleet lives in memory only."""
