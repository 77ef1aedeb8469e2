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

Report = dict[str, Any]


def parse(text: str) -> Report:
    """Parse a report.

    Raises:
        ValueError: It is not a valid report; the text gives the reason.

    """
    report = json.loads(text)
    if not isinstance(report, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - what is wrong is the text
    if missing := [name for name in REQUIRED_FIELDS if not isinstance(report.get(name), str)]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    if not ID.fullmatch(report["crash_id"]):
        raise ValueError(f"crash_id {report['crash_id']!r} is none that can be typed")
    at(report)
    return report


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
    return datetime.fromisoformat(text).astimezone(UTC)


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
