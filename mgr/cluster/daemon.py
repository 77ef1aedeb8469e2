"""One daemon as the active knows it. Written by the loop; every thread may read.

What a thread reads is replaced as a whole and never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Protocol

from mgr.cluster.counters import NO_POINTS
from mgr.cluster.daemon_record import DaemonRecord
from mgr.errors import MgrError

CLOCK_OFF_S: Final = 60.0
"""A daemon's clock that is this far off is reported."""


class DaemonState(IntEnum):
    """Where a daemon is. The numbers are those of the wire."""

    REPORTING = 1
    AWAITED = 2
    """Known from an earlier term, not yet back in this one."""
    SILENT = 3
    """Its grace has passed."""


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """How daemons are to report, as they are told it.

    Attributes:
        period_s: Between two reports.
        lowest_priority: Of the counters that are to be declared.

    """

    period_s: float = 5.0
    lowest_priority: int = 5


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that health adds up over all daemons."""

    code: str
    value: int
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as one daemon reports it; ``wear_level`` from 0 to 1, None where nobody knows."""

    id: str
    name: str
    path: str
    wear_level: float | None = None
    daemons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """What a daemon says beside its counters; None: as before."""

    status: Mapping[str, str] | None = None
    task_status: Mapping[str, str] | None = None
    metrics: Sequence[Metric] | None = None
    devices: Sequence[Device] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """How a daemon introduces itself; see ``Open`` in cluster.proto.

    Attributes:
        clock: Its wall time in seconds since 1970; None: it did not say.

    """

    kind: str
    id: str
    host: str = ""
    version: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    incarnation: str = ""
    clock: float | None = None
    commands: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DaemonAnswer:
    """What a daemon answered to a command: 0 or a negative errno, data, words for people."""

    retval: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class DaemonCommand:
    """A command for a daemon: words, further arguments by name, and what ``-i`` held."""

    words: Sequence[str]
    arguments: Mapping[str, Any]
    input: bytes = b""
    request_id: str = ""


class DaemonStream(Protocol):
    """The stream to a daemon that is here."""

    def configure(self, config: ReportConfig) -> None:
        """Tell it how to report from now on. At once: what cannot be sent ends the stream."""
        ...

    async def run_command(self, request: DaemonCommand, *, timeout_s: float) -> DaemonAnswer:
        """Have it run a command.

        Raises:
            OutcomeUnknownError: It went away, or did not answer within ``timeout_s``.
            OverloadedError: Too many are under way; it was not sent.

        """
        ...

    def end(self, error: MgrError) -> None:
        """End the stream; the daemon hears ``error``."""
        ...


class Daemon:
    """What is known of one daemon.

    Attributes:
        name: ``<kind>.<id>``.
        stream: The stream it reports on; None: it has none now.
        incarnation: Which start of its program was here last; empty: none in this term.
        commands: Descriptors of what ``tell`` reaches, as it gave them.
        reported_at: Wall time of its last report; None if there was none in this term.
        last_message_s: When it was last heard of, on the manager's clock.
        clock_off_s: How far its clock was ahead of the manager's when it opened.
        name_conflict_s: When another program last took its name from a living stream.
        replaced: The incarnations that lost it so, lately.

    """

    __slots__ = (
        "clock_off_s",
        "commands",
        "devices",
        "id",
        "incarnation",
        "kind",
        "last_message_s",
        "messages_left",
        "metrics",
        "name",
        "name_conflict_s",
        "record",
        "replaced",
        "reported_at",
        "ring",
        "state",
        "status",
        "stream",
        "task_status",
    )

    def __init__(
        self, name: str, record: DaemonRecord, *, last_message_s: float, messages: float = 0.0
    ) -> None:
        """Known, and no more than that."""
        self.name: Final = name
        self.kind, _, self.id = name.partition(".")
        self.record = record
        self.state = DaemonState.AWAITED
        self.stream: DaemonStream | None = None
        self.incarnation = ""
        self.commands: tuple[str, ...] = ()
        self.ring = NO_POINTS
        self.status: Mapping[str, str] = {}
        self.task_status: Mapping[str, str] = {}
        self.metrics: Sequence[Metric] = ()
        self.devices: Sequence[Device] = ()
        self.reported_at: float | None = None
        self.last_message_s = last_message_s
        self.clock_off_s = 0.0
        self.name_conflict_s: float | None = None
        self.replaced: tuple[str, ...] = ()
        self.messages_left = messages

    @property
    def clock_is_off(self) -> bool:
        """Whether its clock was far from the manager's when it opened."""
        return abs(self.clock_off_s) >= CLOCK_OFF_S
