"""Crash: stores crash reports, and warns of recent ones until an operator archives them.

The manager posts a report when a module's code raises; programs and people post others with
``crash post -i FILE``. They are stored in the format of Ceph's crash module, so that each module
can read the other's. No ``from __future__ import annotations`` here: commands are derived from
annotations.
"""

import errno
import json
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mgr_module import (
    CLICheckNonemptyFileInput,
    CLICommand,
    CLIReadCommand,
    HandleCommandResult,
    MgrModule,
    Option,
)

from . import report
from .report import Report

PREFIX = "crash/"
"""Key prefix of the entries that contain reports."""
REPORTS_MAX = 500
"""Limit of stored reports; for a new one the one least needed is removed."""
DETAILS_MAX = 30
DAY_S = 24 * 60 * 60
CHECK_INTERVAL_S = 600.0
"""Seconds between two checks for reports that are too old."""


class Module(MgrModule):
    """Compares with the stored reports at every command, so that nothing is out of date."""

    EFFECTS = "store"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        Option(
            "warn_recent_interval",
            type="secs",
            default=14 * DAY_S,
            runtime=True,
            desc="time interval in which to warn about recent crashes",
        ),
        Option(
            "retain_interval",
            type="secs",
            default=365 * DAY_S,
            runtime=True,
            desc="how long to retain crashes before pruning them",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prepare ``serve``."""
        super().__init__(*args, **kwargs)
        self._parsed: dict[str, tuple[str, Report]] = {}
        """Reports by key, with the text they were parsed from: parsing all takes long."""
        self._stop = threading.Event()

    # -- lifecycle --------------------------------------------------------------------------

    def serve(self) -> None:
        """Remove reports that are too old and update the warnings, until ``shutdown``."""
        while not self._stop.is_set():
            self._prune(timedelta(seconds=self.get_module_option("retain_interval")))
            self._warn()
            self._stop.wait(CHECK_INTERVAL_S)

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._stop.set()

    def config_notify(self) -> None:
        """Update the warnings: the interval may have changed."""
        self._warn()

    # -- commands ---------------------------------------------------------------------------

    @CLIReadCommand("crash info")
    def do_info(self, id: str) -> HandleCommandResult:  # noqa: A002 - Ceph's argument
        """Show crash dump metadata."""
        found = self._reports().get(id)
        if found is None:
            return HandleCommandResult(-errno.EINVAL, "", f"crash info: {id} not found")
        return HandleCommandResult(stdout=json.dumps(found, indent=4, sort_keys=True))

    @CLICommand("crash post", perm="rw", idempotent=True)
    @CLICheckNonemptyFileInput(desc="a crash report")
    def do_post(self, inbuf: str) -> HandleCommandResult:
        """Add a crash dump (use -i <jsonfile>)."""
        try:
            posted = report.parse(inbuf)
        except ValueError as error:
            return HandleCommandResult(-errno.EINVAL, "", f"malformed crash metadata: {error}")
        name = posted["crash_id"]
        if self.get_store(PREFIX + name) is None:
            if "backtrace" in posted:
                posted["stack_sig"] = report.signature(posted)
            self._make_room()
            self._store(posted)
            self._warn()
        return HandleCommandResult()

    def ls(self) -> HandleCommandResult:
        """List every report as JSON. For other modules."""
        return self._format_list("json", new=False)

    @CLIReadCommand("crash ls")
    def do_ls(self, format: str = "") -> HandleCommandResult:  # noqa: A002 - Ceph's
        """Show new and archived crash dumps."""
        return self._format_list(format, new=False)

    @CLIReadCommand("crash ls-new")
    def do_ls_new(self, format: str = "") -> HandleCommandResult:  # noqa: A002 - Ceph's
        """Show new crash dumps."""
        return self._format_list(format, new=True)

    @CLICommand("crash rm", perm="rw", idempotent=True)
    def do_rm(self, id: str) -> HandleCommandResult:  # noqa: A002 - Ceph's argument
        """Remove a saved crash <id>."""
        # Even if it is not there: an earlier write whose outcome is unknown may still be applied.
        self.set_store(PREFIX + id, None)
        self._warn()
        return HandleCommandResult()

    @CLICommand("crash prune", perm="rw", idempotent=True)
    def do_prune(self, keep: int) -> HandleCommandResult:
        """Remove crashes older than <keep> days."""
        self._prune(timedelta(days=keep))
        self._warn()
        return HandleCommandResult()

    @CLICommand("crash archive", perm="rw", idempotent=True)
    def do_archive(self, id: str) -> HandleCommandResult:  # noqa: A002 - Ceph's argument
        """Acknowledge a crash and silence health warning(s)."""
        found = self._reports().get(id)
        if found is None:
            return HandleCommandResult(-errno.ENOENT, "", f"crash archive: {id} not found")
        self._archive([found])
        return HandleCommandResult()

    @CLICommand("crash archive-all", perm="rw", idempotent=True)
    def do_archive_all(self) -> HandleCommandResult:
        """Acknowledge all new crashes and silence health warning(s)."""
        self._archive(self._reports().values())
        return HandleCommandResult()

    @CLIReadCommand("crash stat")
    def do_stat(self) -> HandleCommandResult:
        """Summarize recorded crashes."""
        return HandleCommandResult(stdout=report.summary(self._reports(), datetime.now(UTC)))

    @CLIReadCommand("crash json_report")
    def json_report(self, hours: int) -> HandleCommandResult:
        """Crashes in the last <hours> hours."""
        edge = datetime.now(UTC) - timedelta(hours=hours)
        recent = report.since(self._reports().values(), edge)
        return HandleCommandResult(stdout=json.dumps(report.by_process(recent), sort_keys=True))

    def do_json_report(self, hours: int) -> HandleCommandResult:
        """As ``crash json_report``. For Ceph's ``insights``, which reads the third element."""
        return HandleCommandResult(stderr=self.json_report(hours).stdout)

    # -- inside -----------------------------------------------------------------------------

    def _reports(self) -> dict[str, Report]:
        """Return every report by its id, oldest first; skips entries that contain no report."""
        known, self._parsed = self._parsed, {}
        for key, text in self.get_store_prefix(PREFIX).items():
            earlier = known.get(key)
            if earlier is not None and earlier[0] == text:
                self._parsed[key] = earlier
                continue
            try:
                self._parsed[key] = text, report.parse(text)
            except ValueError as error:
                self.log.warning("entry %s is not a crash report: %s", key, error)
        found = [each for _, each in self._parsed.values()]
        return {each["crash_id"]: each for each in sorted(found, key=report.at)}

    def _make_room(self) -> None:
        reports = self._reports()
        while len(reports) >= REPORTS_MAX:
            name = report.least_needed(reports)["crash_id"]
            self.log.warning("crash report %s removed: there are %d", name, len(reports))
            self.set_store(PREFIX + name, None)
            del reports[name]

    def _format_list(self, form: str, *, new: bool) -> HandleCommandResult:
        listed = [one for one in self._reports().values() if report.is_new(one) or not new]
        if form in {"json", "json-pretty"}:
            indent = 4 if form == "json-pretty" else None
            return HandleCommandResult(stdout=json.dumps(listed, indent=indent, sort_keys=True))
        return HandleCommandResult(stdout=report.table(listed))

    def _store(self, one: Report) -> None:
        self.set_store(PREFIX + one["crash_id"], json.dumps(one, sort_keys=True))

    def _archive(self, reports: Iterable[Report]) -> None:
        for one in filter(report.is_new, reports):
            self._store({**one, "archived": str(datetime.now(UTC).replace(tzinfo=None))})
        self._warn()

    def _prune(self, age: timedelta) -> None:
        edge = datetime.now(UTC) - age
        for name, one in self._reports().items():
            if report.at(one) < edge:
                self.set_store(PREFIX + name, None)

    def _warn(self) -> None:
        """Raise health checks for recent reports that are not archived, or clear them."""
        edge = datetime.now(UTC) - timedelta(seconds=self.get_module_option("warn_recent_interval"))
        recent = [one for one in report.since(self._reports().values(), edge) if report.is_new(one)]
        of_modules = [one for one in recent if "mgr_module" in one]
        others = [one for one in recent if "mgr_module" not in one]
        checks: dict[str, dict[str, Any]] = {}
        if others:
            lines = [
                _detail_line("{entity_name} crashed on host {utsname_hostname}", one)
                for one in others
            ]
            checks["RECENT_CRASH"] = _check("daemons have recently crashed", lines)
        if of_modules:
            line = (
                "mgr module {mgr_module} crashed in daemon {entity_name} on host {utsname_hostname}"
            )
            lines = [_detail_line(line, one) for one in of_modules]
            checks["RECENT_MGR_MODULE_CRASH"] = _check("mgr modules have recently crashed", lines)
        self.set_health_checks(checks)


def _detail_line(line: str, one: Report) -> str:
    signal = f" ({one['mgr_signal']})" if "mgr_signal" in one else ""
    return f"{line.format_map(_ReportFields(one))}{signal} at {one['timestamp']}"


def _check(what: str, lines: list[str]) -> dict[str, Any]:
    detail = lines[:DETAILS_MAX]
    if len(lines) > DETAILS_MAX:
        detail.append(f"and {len(lines) - DETAILS_MAX} more")
    return {
        "severity": "warning",
        "summary": f"{len(lines)} {what}",
        "count": len(lines),
        "detail": detail,
    }


class _ReportFields(dict[str, Any]):
    """The fields of a report for ``str.format_map``; missing ones are ``unknown``."""

    def __init__(self, one: Mapping[str, Any]) -> None:
        super().__init__(one)

    def __missing__(self, key: str) -> str:
        return "unknown"
