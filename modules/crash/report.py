"""Crash reports: validation, age, signature and listing. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

REQUIRED_FIELDS = ("crash_id", "timestamp")
TIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
)
ID = re.compile(r"[\w.:+-][\w.:+ -]{0,127}")

TEXT_CHARS_MAX = 64 << 10
"""Limit of a report's length. An entry of the store has the same limit."""
MANY_LINES = ("assert_condition", "assert_msg", "backtrace")
"""Fields that may have several lines. All others are shown within a line."""

Report = dict[str, Any]


def parse(text: str) -> Report:
    """Parse a report.

    Raises:
        ValueError: It is not a valid report; the text gives the reason.

    """
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError(f"it has more than {TEXT_CHARS_MAX} characters")
    try:
        report = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(report, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - what is wrong is the text
    if missing := [name for name in REQUIRED_FIELDS if not isinstance(report.get(name), str)]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    if not ID.fullmatch(report["crash_id"]):
        raise ValueError(f"crash_id {report['crash_id']!r} is none that can be typed")
    at(report)
    return {name: _shown(name, value) for name, value in report.items()}


def at(report: Report) -> datetime:
    """Return the time of a crash; a report without a time zone is in UTC.

    Raises:
        ValueError: Its time cannot be read.

    """
    text = report["timestamp"].rstrip("Z")
    for form in TIME_FORMATS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"timestamp {text!r} is out of range") from None


def _shown(name: str, value: Any) -> Any:
    """Return a field with control characters escaped: it is shown on operators' terminals."""
    if name in MANY_LINES or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in value
    )


def signature(report: Report) -> str:
    """Return a signature that is equal for reports of the same fault.

    It depends on the functions in the backtrace, not on addresses or line numbers.
    """
    lines = report.get("backtrace") or ()
    digest = hashlib.sha256(str(report.get("assert_msg") or "").encode())
    for line in lines if isinstance(lines, list) else ():
        text = str(line)
        python = re.search(r'File "([^"]+)", line \d+, in (\S+)', text)
        text = f"{python[1]} {python[2]}" if python else re.sub(r"\+?0x[0-9a-f]+|\+\d+", "", text)
        digest.update(text.encode())
    return digest.hexdigest()


def least_needed(reports: Mapping[str, Report]) -> Report:
    """Return the report to remove first: the oldest archived one, if there is any.

    Else the oldest of the entity that has most, so that whoever posts many loses its own.
    """
    by_age = sorted(reports.values(), key=at)
    archived = [each for each in by_age if not is_new(each)]
    if archived:
        return archived[0]
    counts = Counter(_entity(each) for each in by_age)
    most = max(counts.values())
    return next(each for each in by_age if counts[_entity(each)] == most)


def _entity(report: Report) -> str:
    return str(report.get("entity_name") or "unknown")


def is_new(report: Report) -> bool:
    """Return whether the report is not archived."""
    return "archived" not in report


def since(reports: Iterable[Report], moment: datetime) -> list[Report]:
    """Return the reports of ``moment`` or later."""
    return [report for report in reports if at(report) >= moment]


def by_process(reports: Iterable[Report]) -> dict[str, int]:
    """Return the number of reports for each process name."""
    return dict(Counter(str(report.get("process_name") or "unknown") for report in reports))


def summary(reports: Mapping[str, Report], now: datetime) -> str:
    """Summarize how many reports there are, and how old, as text."""
    lines = [f"{len(reports)} crashes recorded"]
    for days in (1, 3, 7):
        edge = now - timedelta(days=days)
        old = sorted(name for name, report in reports.items() if at(report) < edge)
        if old:
            # As Ceph's module prints it, also for one day: scripts match these lines.
            lines += [f"{len(old)} older than {days} days old:", *old]
    return "\n".join(lines)


def table(reports: Iterable[Report]) -> str:
    """Format one line for each report, oldest first: id, entity, whether it is new."""
    rows = [("ID", "ENTITY", "NEW")]
    for report in reports:
        new = "*" if is_new(report) else ""
        rows.append((report["crash_id"], str(report.get("entity_name", "unknown")), new))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines) if len(rows) > 1 else ""
