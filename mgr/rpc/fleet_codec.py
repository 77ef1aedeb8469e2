"""Conversion between the fleet's types and the messages of the cluster service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from mgr.cluster.counters import Counter, Kind, Ring, Slot, Unit, labels_of
from mgr.cluster.daemon import (
    Daemon,
    DaemonAnswer,
    DaemonCommand,
    DaemonStatus,
    Device,
    Metric,
    OpenRequest,
)
from mgr.cluster.validation import checked_counter
from mgr.errors import ReportRefusedError
from mgr.rpc.codec import value_of
from mgr.rpc.v1 import cluster_pb2
from mgr.rpc.v1.command_pb2 import ExecuteRequest, ExecuteResponse
from mgr.text import one_line

PRIORITY_MAX: Final = 11
READ_AT_ONCE: Final = 100
"""Counters converted before the event loop runs other tasks: some milliseconds."""


def open_request_in(message: cluster_pb2.Open) -> OpenRequest:
    """Convert the first message of a daemon."""
    return OpenRequest(
        kind=message.type,
        id=message.id,
        host=message.host,
        version=message.version,
        metadata=message.metadata,
        incarnation=message.incarnation,
        clock=message.now.ToNanoseconds() / 1e9 if message.HasField("now") else None,
        commands=[each.signature for each in message.commands],
    )


async def counters_in(message: cluster_pb2.Declare) -> list[Counter]:
    """Convert the counters that a daemon declares; yields to the loop, as there may be thousands.

    Raises:
        ReportRefusedError: One of them is invalid; see ``mgr.cluster.validation``.

    """
    counters = []
    for number, each in enumerate(message.counters, 1):
        counters.append(_counter(each))
        if number % READ_AT_ONCE == 0:
            await asyncio.sleep(0)
    return counters


def daemon_status_in(report: cluster_pb2.Report) -> DaemonStatus | None:
    """Convert the status fields of a report; None if it has only values, as most reports do."""
    status, tasks = report.HasField("status"), report.HasField("task_status")
    metrics, devices = report.HasField("health_metrics"), report.HasField("devices")
    if not (status or tasks or metrics or devices):
        return None
    return DaemonStatus(
        status=report.status.texts if status else None,
        task_status=report.task_status.texts if tasks else None,
        metrics=_metrics(report.health_metrics) if metrics else None,
        devices=_devices(report.devices) if devices else None,
    )


def daemon_answer_in(message: ExecuteResponse) -> DaemonAnswer:
    """Convert a daemon's answer to a command."""
    return DaemonAnswer(message.retval, message.stdout.decode(errors="replace"), message.stderr)


def execute_request_of(command: DaemonCommand) -> ExecuteRequest:
    """Convert a command for a daemon to its message.

    Raises:
        InvalidArgumentError: An argument has a type that cannot be sent.

    """
    return ExecuteRequest(
        words=command.words,
        arguments={name: value_of(name, value) for name, value in command.arguments.items()},
        input=command.input,
        request_id=command.request_id,
    )


def daemon_of(daemon: Daemon) -> cluster_pb2.Daemon:
    """Convert the state of a daemon to its message."""
    record = daemon.record
    message = cluster_pb2.Daemon(
        type=daemon.kind,
        id=daemon.id,
        host=record.host,
        version=record.version,
        metadata=record.metadata,
        state=int(daemon.state),  # type: ignore[arg-type]  # the enum is an int on the wire
        status=daemon.status,
        task_status=daemon.task_status,
    )
    message.since.FromJsonString(record.since)
    if daemon.reported_at is not None:
        message.reported_at.CopyFrom(stamp(daemon.reported_at))
    return message


def series_of(
    daemon: Daemon, ring: Ring, slot: Slot, *, latest: bool
) -> cluster_pb2.CounterSeries | None:
    """Convert a counter's points, or (``latest``) the newest one; None if there are none."""
    points = [newest] if latest and (newest := ring.latest(slot)) else []
    if not latest:
        points = ring.points(slot)
    if not points:
        return None
    return cluster_pb2.CounterSeries(
        type=daemon.kind,
        id=daemon.id,
        counter=_declaration(slot.counter),
        points=[cluster_pb2.CounterPoint(at=stamp(point[0]), values=point[1:]) for point in points],
    )


def stamp(at: float) -> Timestamp:
    """Convert wall time in seconds since 1970 to a ``Timestamp``."""
    message = Timestamp()
    message.FromNanoseconds(int(at * 1e9))
    return message


def _counter(message: cluster_pb2.CounterDeclaration) -> Counter:
    try:
        kind, unit = Kind(message.kind), Unit(message.unit)
    except ValueError:
        raise ReportRefusedError(
            "schema", f"{message.name!r} is of kind {message.kind} in unit {message.unit}"
        ) from None
    return checked_counter(
        Counter(
            group=message.group,
            name=message.name,
            kind=kind,
            description=one_line(message.description),
            nick=message.nick,
            unit=unit,
            priority=min(message.priority, PRIORITY_MAX),
            labels=labels_of(message.labels),
            bounds=tuple(message.bounds),
        )
    )


def _declaration(counter: Counter) -> cluster_pb2.CounterDeclaration:
    labels: Mapping[str, str] = dict(counter.labels)
    return cluster_pb2.CounterDeclaration(
        group=counter.group,
        name=counter.name,
        kind=int(counter.kind),  # type: ignore[arg-type]  # as above
        description=counter.description,
        nick=counter.nick,
        unit=int(counter.unit),  # type: ignore[arg-type]  # as above
        priority=counter.priority,
        labels=labels,
        bounds=counter.bounds,
    )


def _metrics(message: cluster_pb2.HealthMetrics) -> list[Metric]:
    return [Metric(each.type, each.value, each.summary) for each in message.metrics]


def _devices(message: cluster_pb2.Devices) -> list[Device]:
    return [
        Device(
            id=each.id,
            name=each.name,
            path=each.path,
            wear_level=each.wear_level if each.HasField("wear_level") else None,
            daemons=tuple(each.daemons),
        )
        for each in message.devices
    ]
