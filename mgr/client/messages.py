"""Results of a client's calls as plain dataclasses, and their conversion from messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from mgr.errors import InvalidArgumentError
from mgr.rpc.codec import value_of
from mgr.rpc.v1 import manager_pb2
from mgr.rpc.v1.command_pb2 import CommandDescription, ExecuteRequest, ExecuteResponse
from mgr.tracing import TraceContext

PRIORITIES: Final = ("debug", "info", "security", "warning", "error")
"""Priorities of the cluster log, the most severe last. On the wire: the index here plus one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a command that ran. ``retval`` below 0 is a refusal: the negated errno."""

    retval: int
    stdout: bytes
    stderr: str
    term: int

    @property
    def text(self) -> str:
        """``stdout`` as text."""
        return self.stdout.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class ManagerInfo:
    """A manager as other managers see it; ``term`` is 0 unless it leads."""

    name: str
    grpc_address: str
    http_address: str
    term: int = 0
    version: str = ""
    warm: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one manager, and its view of the cluster.

    Attributes:
        name: Of the manager.
        cluster: Of the cluster.
        version: Of its software.
        incarnation: Of its process.
        phase: Of the election, as this manager is in it.
        note: Why it does not lead, if it has a reason; else empty.
        active: The active manager, if this one knows one.
        standbys: The standbys that this manager knows.
        view_age_s: Seconds since its last answer from etcd; None if it never had one.
        clock_s: The clock by which it measures leases, in seconds since its host was started; None
            if its version does not tell.
        at: Its wall time; None as above.

    """

    name: str
    cluster: str
    version: str
    incarnation: str
    phase: str
    note: str
    active: ManagerInfo | None
    standbys: tuple[ManagerInfo, ...]
    view_age_s: float | None
    clock_s: float | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """One command of the active; ``signature`` is in the descriptor language."""

    signature: str
    help: str
    perm: str
    poll: bool
    module: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the cluster log."""

    sequence: int
    term: int
    at: datetime
    name: str
    channel: str
    priority: str
    message: str


@dataclass(frozen=True, slots=True)
class LinesDropped:
    """A gap in the cluster log: ``count`` lines were dropped because this reader was too slow."""

    count: int


def request_of(
    words: Sequence[str],
    arguments: dict[str, Any] | None,
    data: bytes,
    request_id: str,
    trace: TraceContext | None = None,
) -> ExecuteRequest:
    """Compose the request of one command, which passes ``trace`` on.

    Raises:
        InvalidArgumentError: An argument or a word cannot be sent.

    """
    try:
        return ExecuteRequest(
            words=words,
            arguments={name: value_of(name, value) for name, value in (arguments or {}).items()},
            input=data,
            request_id=request_id,
            traceparent="" if trace is None else trace.traceparent,
            tracestate="" if trace is None else trace.tracestate,
        )
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{error.object!r} is not encodable as UTF-8") from None


def answer_in(message: ExecuteResponse) -> Answer:
    """Convert an answer."""
    return Answer(message.retval, message.stdout, message.stderr, message.term)


def status_in(message: manager_pb2.GetStatusResponse) -> Status:
    """Convert a status."""
    return Status(
        name=message.name,
        cluster=message.cluster,
        version=message.version,
        incarnation=message.incarnation,
        phase=message.phase,
        note=message.note,
        active=_active_in(message.active) if message.HasField("active") else None,
        standbys=tuple(_standby_in(each) for each in message.standbys),
        view_age_s=(
            message.view_age.ToNanoseconds() / 1e9 if message.HasField("view_age") else None
        ),
        clock_s=message.clock.ToNanoseconds() / 1e9 if message.HasField("clock") else None,
        at=_moment(message.at) if message.HasField("at") else None,
    )


def command_in(message: CommandDescription) -> CommandInfo:
    """Convert the description of a command."""
    return CommandInfo(
        signature=message.signature,
        help=message.help,
        perm=message.perm,
        poll=message.poll,
        module=message.module,
        hidden=message.hidden,
    )


def line_in(message: manager_pb2.LogEntry) -> LogLine:
    """Convert a line of the cluster log."""
    return LogLine(
        sequence=message.sequence,
        term=message.term,
        at=_moment(message.at),
        name=message.name,
        channel=message.channel,
        priority=PRIORITIES[min(max(message.priority, 1), len(PRIORITIES)) - 1],
        message=message.message,
    )


def _active_in(message: manager_pb2.Active) -> ManagerInfo:
    return ManagerInfo(
        name=message.name,
        grpc_address=message.grpc_address,
        http_address=message.http_address,
        term=message.term,
        since=_moment(message.since) if message.HasField("since") else None,
    )


def _standby_in(message: manager_pb2.Standby) -> ManagerInfo:
    return ManagerInfo(
        name=message.name,
        grpc_address=message.grpc_address,
        http_address=message.http_address,
        version=message.version,
        warm=message.warm,
    )


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
