"""The cluster log and the audit, as they grow; and the commands that run now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .page import PageRequest
from .reader import Reader, Sourced

LEVELS: Final = ("debug", "info", "sec", "warn", "error")
CHANNELS: Final = ("*", "cluster", "audit")
READ_LINES: Final = 1000
SHOWN_LINES: Final = 200
AUDIT: Final = "audit ls"
RUNNING: Final = "command ls"
KINDS: Final = {"[ERR]": "err", "[WRN]": "warn", "[SEC]": "warn"}


def content(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``log.html``."""
    level = request.text("level")
    channel = request.text("channel")
    filters = {
        "level": level if level in LEVELS else "info",
        "channel": channel if channel in CHANNELS else "*",
        "q": request.text("q"),
    }
    return {
        "log": lines(request.reader, filters["level"], filters["channel"], filters["q"]),
        "filters": filters,
        "levels": LEVELS,
        "channels": CHANNELS,
        "kinds": KINDS,
        "has_audit": request.reader.has(AUDIT) and request.viewer.may(AUDIT),
    }


def lines(reader: Reader, level: str, channel: str, text: str) -> Sourced:
    """Return the newest lines of the cluster log first, those that contain ``text``."""
    read = reader.shared(
        f"log {level} {channel}",
        "the cluster log of the active",
        lambda: reader.command("log last", num=READ_LINES, level=level, channel=channel),
    )
    wanted = text.lower()
    found = [
        each
        for each in read.value or ()
        if wanted in each["message"].lower() or wanted in each["name"].lower()
    ]
    return Sourced(found[::-1][:SHOWN_LINES], read.source, read.at, read.trouble)


def audit(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``audit.html``."""
    text = request.text("q")
    return {"audit": audit_records(request.reader, text), "q": text}


def audit_records(reader: Reader, text: str) -> Sourced:
    """Return the newest records of the audit first, those that contain ``text``."""

    def read() -> list[dict[str, Any]]:
        return list(reader.command(AUDIT, num=SHOWN_LINES))[::-1] if reader.has(AUDIT) else []

    found = reader.shared("audit", "the audit in etcd", read)
    wanted = text.lower()
    rows = [each for each in found.value or () if not wanted or _contains(each, wanted)]
    return Sourced(rows[:SHOWN_LINES], found.source, found.at, found.trouble)


def running(request: PageRequest) -> dict[str, Any]:
    """Return the variables of the template ``commands.html``."""
    reader = request.reader
    return {
        "running": reader.shared("running", "the active's commands", lambda: _running(reader)),
    }


def _running(reader: Reader) -> list[dict[str, Any]]:
    return list(reader.command(RUNNING)) if reader.has(RUNNING) else []


def _contains(record: Mapping[str, Any], wanted: str) -> bool:
    return any(wanted in str(value).lower() for value in record.values())
