"""What daemons say, held against ``mgr.report_limits``: each refused with the rule's name.

Whoever breaks a rule is told so and disconnected; nobody else is touched, and nothing of the
message is kept.
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
"""Characters of what was wrong that are repeated to whoever sent it, and to the log."""
MESSAGES_PER_PERIOD: Final = 4
"""A daemon may report this often on the average, for a status that changed in between."""
MESSAGES_AT_ONCE: Final = 32
MESSAGE_BYTES_MAX: Final = 4 << 20
"""Of one message of a report stream."""


def quoted(text: str) -> str:
    """``text`` in an error: printable, and not longer than the reason that follows it."""
    return repr(text if len(text) <= QUOTED_MAX else f"{text[:QUOTED_MAX]}...")


def checked_name(kind: str, ident: str) -> str:
    """The name ``<kind>.<id>``, if a daemon may have it.

    Raises:
        ReportRefusedError: It may not; the message says why.

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
    """``text``, if it is short and printable.

    Raises:
        ReportRefusedError: It is not.

    """
    if not is_text(text):
        raise ReportRefusedError(
            "text", f"{what}: use at most {TEXT_MAX} characters, none of them a control character"
        )
    return text


def checked_incarnation(text: str) -> str:
    """``text``, if it tells one start of a program from another.

    Raises:
        ReportRefusedError: It does not.

    """
    if not text:
        raise ReportRefusedError(
            "incarnation", "incarnation: say one that is new with each start of the program"
        )
    return checked_text("incarnation", text)


def checked_commands(commands: Sequence[str]) -> tuple[str, ...]:
    """The descriptors of a daemon's ``commands``, if they are few, short and printable.

    Raises:
        ReportRefusedError: A control character.
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
    """``texts`` as a dictionary of one's own, if they are small and safe to print.

    Raises:
        ReportRefusedError: A control character that is neither a tab nor the end of a line.
        ReportLimitError: Too much.

    """
    own = dict(texts)
    whole = "".join((*own, *own.values()))
    if len(whole.encode()) > TEXTS_BYTES_MAX:
        raise ReportLimitError("texts", f"{what}: more than {TEXTS_BYTES_MAX} bytes")
    if not is_printable(whole):
        raise ReportRefusedError("texts", f"{what}: a control character")
    return own


def checked_counter(counter: Counter) -> Counter:
    """``counter``, if it can be one.

    Raises:
        ReportRefusedError: A name that cannot be, or bounds that do not ascend.
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
    """Refuse a declaration before it is even read.

    Raises:
        ReportLimitError: With what was declared before, these are too many counters.

    """
    if len(before.slots) + added > counters_max:
        raise ReportLimitError(
            "counters", f"{len(before.slots) + added} counters; a daemon may have {counters_max}"
        )


def check_width(schema: Schema, counters_max: int) -> None:
    """Refuse rows that would be too wide: histograms have many values.

    Raises:
        ReportLimitError: More than two for each counter that a daemon may have.

    """
    if schema.width > VALUES_EACH * counters_max:
        raise ReportLimitError(
            "counters", f"{schema.width} values; a daemon may have {VALUES_EACH * counters_max}"
        )


def checked_metrics(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """``metrics``, if health can show them.

    Raises:
        ReportRefusedError: A name that no check may have, or one that is there twice.
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
    """``devices``, if they are few and can be printed.

    Raises:
        ReportRefusedError: Text that cannot be printed, or a wear level out of range.
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
    """``update`` as values of one's own, if all of it can be.

    Raises:
        ReportRefusedError: Something cannot be; see above.
        ReportLimitError: Something is too much.

    """
    status, tasks = update.status, update.task_status
    return DaemonStatus(
        status=None if status is None else checked_texts("status", status),
        task_status=None if tasks is None else checked_texts("task_status", tasks),
        metrics=None if update.metrics is None else checked_metrics(update.metrics),
        devices=None if update.devices is None else checked_devices(update.devices),
    )
