"""Validation of daemons' messages against ``mgr.report_limits``. Errors have the rule's name.

A daemon that breaks a rule receives the error and is disconnected. Other daemons are not affected,
and nothing of the message is stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from mgr.cluster.counters import Counter, Kind, Schema
from mgr.cluster.daemon import DaemonStatus, Device, Metric
from mgr.errors import ReportLimitError, ReportRefusedError
from mgr.report_limits import (
    BOUNDS_MAX,
    COMMAND_MAX,
    COMMANDS_MAX,
    DESCRIPTION_MAX,
    DEVICES_MAX,
    ID_MAX,
    LABELS_MAX,
    METRICS_MAX,
    OUR_CHECKS,
    RESERVED,
    TEXT_MAX,
    TEXTS_BYTES_MAX,
    VALUES_EACH,
    is_id,
    is_kind,
    is_label,
    is_metric,
    is_printable,
    is_text,
)

QUOTED_MAX: Final = 64
"""Limit of characters of an invalid value that an error and the log repeat."""
MESSAGES_PER_PERIOD: Final = 4
"""Average limit of messages per report period; more than one, for status changes in between."""
MESSAGES_AT_ONCE: Final = 32
MESSAGE_BYTES_MAX: Final = 4 << 20
"""Limit of one message of a report stream."""


def quoted(text: str) -> str:
    """Return ``text`` for an error message: printable and shortened."""
    return repr(text if len(text) <= QUOTED_MAX else f"{text[:QUOTED_MAX]}...")


def checked_name(kind: str, ident: str) -> str:
    """Return the name ``<kind>.<id>`` if a daemon may have it.

    Raises:
        ReportRefusedError: It may not; the message has the reason.

    """
    if not is_kind(kind):
        raise ReportRefusedError(
            "name", f"type {quoted(kind)}: use 1 to 64 of A-Z a-z 0-9 _ - and not {RESERVED!r}"
        )
    if not is_id(ident):
        raise ReportRefusedError(
            "name",
            f"id {quoted(ident)}: use 1 to {ID_MAX} printable characters, no blank, no slash",
        )
    return f"{kind}.{ident}"


def checked_text(what: str, text: str) -> str:
    """Return ``text`` if it is short and printable.

    Raises:
        ReportRefusedError: It is not.

    """
    if not is_text(text):
        raise ReportRefusedError(
            "text", f"{what}: use at most {TEXT_MAX} characters, none of them a control character"
        )
    return text


def checked_incarnation(text: str) -> str:
    """Return ``text`` if it can identify one start of a program.

    Raises:
        ReportRefusedError: It is empty, too long or not printable.

    """
    if not text:
        raise ReportRefusedError(
            "incarnation", "incarnation: use a value that is new with each start of the program"
        )
    return checked_text("incarnation", text)


def checked_commands(commands: Sequence[str]) -> tuple[str, ...]:
    """Return the descriptors of a daemon's ``commands`` if they are few, short and printable.

    Raises:
        ReportRefusedError: One has a control character.
        ReportLimitError: Too many, or one is too long.

    """
    if len(commands) > COMMANDS_MAX:
        raise ReportLimitError("commands", f"more than {COMMANDS_MAX} commands")
    for command in commands:
        if len(command) > COMMAND_MAX:
            raise ReportLimitError(
                "commands", f"command {quoted(command)}: more than {COMMAND_MAX} characters"
            )
        if not command.isprintable():
            raise ReportRefusedError("commands", f"command {quoted(command)}: a control character")
    return tuple(commands)


def checked_texts(what: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of ``texts`` if they are small and safe to print.

    Raises:
        ReportRefusedError: One has a control character other than a tab or a line end.
        ReportLimitError: They are too large together.

    """
    copied = dict(texts)
    whole = "".join((*copied, *copied.values()))
    if len(whole.encode()) > TEXTS_BYTES_MAX:
        raise ReportLimitError("texts", f"{what}: more than {TEXTS_BYTES_MAX} bytes")
    if not is_printable(whole):
        raise ReportRefusedError("texts", f"{what}: a control character")
    return copied


def checked_counter(counter: Counter) -> Counter:
    """Return ``counter`` if its declaration is valid.

    Raises:
        ReportRefusedError: A name is invalid, or the bounds do not ascend.
        ReportLimitError: Too many labels or buckets.

    """
    shown = quoted(counter.path)
    if not counter.group or not counter.name:
        raise ReportRefusedError("schema", f"counter {shown}: group and name are needed")
    words = (
        counter.group,
        counter.name,
        counter.nick,
        *(w for pair in counter.labels for w in pair),
    )
    for word in words:
        checked_text(f"counter {shown}", word)
    if len(counter.description) > DESCRIPTION_MAX:
        raise ReportLimitError("schema", f"{shown}: description above {DESCRIPTION_MAX}")
    if not all(is_label(label) for label, _ in counter.labels):
        raise ReportRefusedError("labels", f"{shown}: labels are called by A-Z a-z 0-9 _")
    if len(counter.labels) > LABELS_MAX:
        raise ReportLimitError("labels", f"{shown}: more than {LABELS_MAX} labels")
    if len(counter.bounds) > BOUNDS_MAX:
        raise ReportLimitError("schema", f"{shown}: more than {BOUNDS_MAX} buckets")
    ascending = all(a < b for a, b in pairwise(counter.bounds))
    if not ascending or not all(map(math.isfinite, counter.bounds)):
        raise ReportRefusedError("schema", f"{shown}: bounds must be numbers, ascending")
    if counter.bounds and counter.kind is not Kind.HISTOGRAM:
        raise ReportRefusedError("schema", f"{shown}: only a histogram has bounds")
    return counter


def check_count(before: Schema, added: int, counters_max: int) -> None:
    """Check the number of counters of a declaration before it is parsed.

    Raises:
        ReportLimitError: Together with those declared before these are too many counters.

    """
    if len(before.slots) + added > counters_max:
        raise ReportLimitError(
            "counters", f"{len(before.slots) + added} counters; a daemon may have {counters_max}"
        )


def check_width(schema: Schema, counters_max: int) -> None:
    """Check the number of values in a row: histograms have many.

    Raises:
        ReportLimitError: More than ``VALUES_EACH`` for each counter that a daemon may have.

    """
    if schema.width > VALUES_EACH * counters_max:
        raise ReportLimitError(
            "counters", f"{schema.width} values; a daemon may have {VALUES_EACH * counters_max}"
        )


def checked_metrics(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return ``metrics`` if they can become health checks.

    Raises:
        ReportRefusedError: A name is not allowed for a health check, or is given twice.
        ReportLimitError: Too many.

    """
    if len(metrics) > METRICS_MAX:
        raise ReportLimitError("metrics", f"more than {METRICS_MAX} health metrics")
    for metric in metrics:
        if not is_metric(metric.code):
            raise ReportRefusedError(
                "metrics",
                f"health metric {quoted(metric.code)}: use A-Z 0-9 _, not {OUR_CHECKS}...",
            )
        checked_text(metric.code, metric.summary)
    if len({metric.code for metric in metrics}) < len(metrics):
        raise ReportRefusedError("metrics", "a health metric is there twice")
    return tuple(metrics)


def checked_devices(devices: Sequence[Device]) -> tuple[Device, ...]:
    """Return ``devices`` if they are few and printable.

    Raises:
        ReportRefusedError: A text is not printable, or a wear level is out of range.
        ReportLimitError: Too many.

    """
    if len(devices) > DEVICES_MAX:
        raise ReportLimitError("devices", f"more than {DEVICES_MAX} devices")
    for device in devices:
        for word in (device.id, device.name, device.path, *device.daemons[:DEVICES_MAX]):
            checked_text("device", word)
        if not device.id or len(device.daemons) > DEVICES_MAX:
            raise ReportRefusedError("devices", "a device needs an id, and not too many daemons")
        if device.wear_level is not None and not 0 <= device.wear_level <= 1:
            raise ReportRefusedError("devices", f"{quoted(device.id)}: wear level beyond 0 to 1")
    return tuple(devices)


def checked_daemon_status(update: DaemonStatus) -> DaemonStatus:
    """Return a copy of ``update`` if all its fields are valid.

    Raises:
        ReportRefusedError: A field is invalid; see the functions above.
        ReportLimitError: A field is too large.

    """
    status, tasks = update.status, update.task_status
    return DaemonStatus(
        status=None if status is None else checked_texts("status", status),
        task_status=None if tasks is None else checked_texts("task_status", tasks),
        metrics=None if update.metrics is None else checked_metrics(update.metrics),
        devices=None if update.devices is None else checked_devices(update.devices),
    )
