"""State of one daemon in the active manager. Written by the loop; every thread may read.

Values that threads read are replaced as a whole and never changed in place.
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
"""A daemon's clock that differs by this much is reported."""


class DaemonState(IntEnum):
    """State of a daemon. The numbers are those of the protocol."""

    REPORTING = 1
    AWAITED = 2
    """Known from an earlier term, not yet back in this one."""
    SILENT = 3
    """It did not report within its grace."""


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """How daemons have to report; sent to each of them.

    Attributes:
        period_s: Seconds between two reports.
        lowest_priority: Lowest priority of the counters that daemons declare.

    """

    period_s: float = 5.0
    lowest_priority: int = 5


@dataclass(frozen=True, slots=True)
class Metric:
    """A health metric: a number that is added up over all daemons."""

    code: str
    value: int
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as one daemon reports it; ``wear_level`` from 0 to 1, None if unknown."""

    id: str
    name: str
    path: str
    wear_level: float | None = None
    daemons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """Status of a daemon beside its counters. A field that is None is unchanged."""

    status: Mapping[str, str] | None = None
    task_status: Mapping[str, str] | None = None
    metrics: Sequence[Metric] | None = None
    devices: Sequence[Device] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """First message of a daemon; see ``Open`` in cluster.proto.

    Attributes:
        clock: Its wall time in seconds since 1970; None if not given.

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
    """A daemon's answer to a command: 0 or a negative errno, data, text for people."""

    retval: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class DaemonCommand:
    """A command for a daemon: words, further arguments by name, and the content of ``-i FILE``.

    ``from_manager`` says that the manager or a module of it sends it, and not a client.
    """

    words: Sequence[str]
    arguments: Mapping[str, Any]
    input: bytes = b""
    request_id: str = ""
    from_manager: bool = False


class DaemonStream(Protocol):
    """The stream of a connected daemon."""

    def configure(self, config: ReportConfig) -> None:
        """Send ``config`` without waiting; the stream ends if it cannot be sent."""
        ...

    async def run_command(self, request: DaemonCommand, *, timeout_s: float) -> DaemonAnswer:
        """Send a command to the daemon and wait for the answer.

        Raises:
            OutcomeUnknownError: The daemon went away, or did not answer within ``timeout_s``.
            OverloadedError: Too many commands are not answered; this one was not sent.

        """
        ...

    def end(self, error: MgrError) -> None:
        """End the stream; ``error`` is sent to the daemon."""
        ...


class Daemon:
    """State of one daemon.

    Attributes:
        name: ``<kind>.<id>``.
        stream: The stream on which it reports; None if it is not connected.
        incarnation: Identifies the start of its program; empty if none joined in this term.
        commands: Descriptors of its commands (``tell``), as declared.
        reported_at: Wall time of its last report; None if there was none in this term.
        last_message_s: Time of its last message, on the manager's clock.
        clock_off_s: Seconds by which its clock was ahead of the manager's when it opened.
        name_conflict_s: When another program last took its name from an open stream.
        replaced: The incarnations that recently lost the name this way.

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
        """Begin with the record only: not connected, without counters and status."""
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
        """Whether its clock differed by ``CLOCK_OFF_S`` or more when it opened."""
        return abs(self.clock_off_s) >= CLOCK_OFF_S
