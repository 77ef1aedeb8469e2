"""Crash reports: exceptions that a module raised outside a command.

The names of ``CrashOrigin`` are ceph-mgr's, because tools that read its reports expect them.
"""

from __future__ import annotations

import os
import platform
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from mgr.clock import utc_now
from mgr.host.bridge import ModuleExitError

FRAMES_MAX: Final = 50
"""Frames kept of each traceback; a report must fit into one entry of the store."""
LINE_MAX: Final = 500


class CrashOrigin(StrEnum):
    """The call into the module that raised."""

    IMPORT = "PyModule::load_subclass_of"
    COMMANDS = "PyModule::load_commands"
    OPTIONS = "PyModule::register_options"
    CAN_RUN = "PyModule::load"
    CONSTRUCTOR = "ActivePyModule::load"
    SERVE = "PyModuleRunner::serve"
    NOTIFY = "ActivePyModule::notify"
    NOTIFY_CLOG = "ActivePyModule::notify_clog"
    SHUTDOWN = "PyModuleRunner::shutdown"
    PROCESS = "ModuleProcess"
    """Not ceph-mgr's: the module's process ended by itself."""


@dataclass(frozen=True, slots=True)
class Crash:
    """One exception that a module raised.

    Attributes:
        module: Name of the module.
        origin: The call that raised.
        kind: The exception's type.
        backtrace: The formatted traceback, the innermost frame last, with the exception's text.
        at: When it was raised, as wall time in ISO 8601, UTC.
        id: Unique id of the report.
        signal: How the module's process ended, if that is what the report is about.

    """

    module: str
    origin: CrashOrigin
    kind: str
    backtrace: tuple[str, ...]
    at: str
    id: str
    signal: str = ""

    @classmethod
    def of_process(cls, module: str, how: str, stack: Sequence[str]) -> Crash:
        """Describe the end of a module's process: ``how`` it ended, and its last ``stack``."""
        at = _now()
        lines = [line[:LINE_MAX] for line in stack][-2 * FRAMES_MAX :]
        return cls(
            *(module, CrashOrigin.PROCESS, how, tuple(lines), at, f"{at}_{uuid.uuid4()}"),
            signal=how,
        )

    @classmethod
    def of(cls, module: str, origin: CrashOrigin, error: BaseException) -> Crash:
        """Describe ``error``, which ``module`` raised when called by ``origin``."""
        if isinstance(error, ModuleExitError) and error.__cause__ is not None:
            error = error.__cause__
        at = _now()
        formatted = traceback.TracebackException.from_exception(error, limit=-FRAMES_MAX)
        lines = [line.rstrip("\n")[:LINE_MAX] for line in formatted.format()][-2 * FRAMES_MAX :]
        return cls(module, origin, type(error).__name__, tuple(lines), at, f"{at}_{uuid.uuid4()}")

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Equal for crashes with the same module, origin and traceback."""
        return (self.module, self.origin, *self.backtrace)

    def report(self, entity: str, version: str) -> dict[str, Any]:
        """Return the report in Ceph's format, which ``crash post`` accepts."""
        host = os.uname()
        system = _os_release()
        report = {
            "crash_id": self.id,
            "timestamp": self.at,
            "process_name": "mgrd",
            "entity_name": entity,
            "ceph_version": version,
            "utsname_hostname": host.nodename,
            "utsname_sysname": host.sysname,
            "utsname_release": host.release,
            "utsname_version": host.version,
            "utsname_machine": host.machine,
            "os_name": system.get("NAME", ""),
            "os_id": system.get("ID", ""),
            "os_version_id": system.get("VERSION_ID", ""),
            "os_version": system.get("VERSION", ""),
            "mgr_module": self.module,
            "mgr_module_caller": str(self.origin),
            "mgr_python_exception": self.kind,
            "backtrace": list(self.backtrace),
        }
        return {**report, "mgr_signal": self.signal} if self.signal else report


CrashHandler = Callable[[Crash], None]


def ignore_crash(_crash: Crash) -> None:
    """Drop a crash. For standbys, which may not write reports."""


def _now() -> str:
    return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
