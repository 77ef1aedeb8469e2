"""What a client gets back: plain values, nothing of gRPC."""

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

PRIORITIES: Final = ("debug", "info", "security", "warning", "error")
"""Of the cluster log, the gravest last. On the wire each is its index here plus one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. ``retval`` below 0 is a refusal: its errno, negated."""

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
    """A manager as others see it; ``term`` is 0 unless it leads."""

    name: str
    grpc_address: str
    http_address: str
    term: int = 0
    version: str = ""
    warm: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What one manager says of itself and of the cluster."""

    name: str
    cluster: str
    version: str
    incarnation: str
    phase: str
    note: str
    active: ManagerInfo | None
    standbys: tuple[ManagerInfo, ...]
    view_age_s: float | None


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """One command there is; ``signature`` in the descriptor language."""

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
    """So many lines of the cluster log were lost here, because this reader was too slow."""

    count: int


def request_of(
    words: Sequence[str],
    arguments: dict[str, Any] | None,
    data: bytes,
    request_id: str,
) -> ExecuteRequest:
    """Compose a request.

    Raises:
        InvalidArgumentError: An argument or a word cannot be sent.

    """
    try:
        return ExecuteRequest(
            words=words,
            arguments={name: value_of(name, value) for name, value in (arguments or {}).items()},
            input=data,
            request_id=request_id,
        )
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{error.object!r} is not encodable as UTF-8") from None


def answer_in(message: ExecuteResponse) -> Answer:
    """Read an answer."""
    return Answer(message.retval, message.stdout, message.stderr, message.term)


def status_in(message: manager_pb2.GetStatusResponse) -> Status:
    """Read a status."""
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
    )


def command_in(message: CommandDescription) -> CommandInfo:
    """Read a description."""
    return CommandInfo(
        signature=message.signature,
        help=message.help,
        perm=message.perm,
        poll=message.poll,
        module=message.module,
        hidden=message.hidden,
    )


def line_in(message: manager_pb2.LogEntry) -> LogLine:
    """Read a line."""
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
