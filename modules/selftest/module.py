"""Selftest: tests the module interface from inside, and causes faults. Not for production.

``mgr self-test ...`` are the commands of Ceph's module of this name, as far as they apply here;
``eval`` is left out, because it runs any code for any client. ``selftest ...`` are ours.
No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import errno
import json
import sys
import threading
from collections.abc import Callable
from typing import Any, List  # noqa: UP035 - the form that ceph-mgr's older modules use

from mgr_module import (
    CLICommandBase,
    ClusterLogPrio,
    HandleCommandResult,
    MgrModule,
    Option,
    OptionLevel,
)
from object_format import EmptyResponder, ErrorResponse, ErrorResponseHandler, Responder

from . import faults
from .checks import CHECKS, CheckFailed

PRIORITIES = {
    "debug": ClusterLogPrio.DEBUG,
    "info": ClusterLogPrio.INFO,
    "security": ClusterLogPrio.SEC,
    "warning": ClusterLogPrio.WARN,
    "error": ClusterLogPrio.ERROR,
}
TOKENS = "token/"
WATCHED = "watched/"

SelftestCommand = CLICommandBase.make_registry_subtype("SelftestCommand")


class Report:
    """The result of the checks: data and a return value for a command."""

    def __init__(self, found: dict[str, str]) -> None:
        """Keep the error of each check; an empty text means that it passed."""
        self._found = found

    def to_simplified(self) -> dict[str, str]:
        """Return ``ok`` or the error of each check."""
        return {name: trouble or "ok" for name, trouble in self._found.items()}

    def mgr_return_value(self) -> int:
        """Return 0 if all checks passed, else -EIO."""
        return -errno.EIO if any(self._found.values()) else 0

    def mgr_status_value(self) -> str:
        """Return how many checks failed, as a text."""
        broken = sum(map(bool, self._found.values()))
        return f"{broken} of {len(self._found)} checks failed" if broken else ""


class Module(MgrModule):
    """Commands; ``serve`` waits until a command starts a fault."""

    EFFECTS = "store"
    CLICommand = SelftestCommand

    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it
        Option("text", default="unset", runtime=True, desc="Any text"),
        Option("number", type="int", default=7, min=0, max=100, runtime=True, desc="0 to 100"),
        Option("size", type="size", default=1024, runtime=True, desc="Bytes; takes suffixes"),
        Option("real", type="float", default=0.5, runtime=True, desc="Any number"),
        Option("truth", type="bool", default=False, runtime=True, desc="True or false"),
        Option("pause", type="secs", default=30, runtime=True, desc="A span; takes units"),
        Option(
            "mood",
            default="good",
            enum_allowed=["good", "fair"],
            level=OptionLevel.DEV,
            runtime=True,
            desc="One of two words",
        ),
        {"name": "untyped", "default": 5},
        # Ceph's scripts for its module of this name set and read these.
        Option("testkey", runtime=True, desc="Any text, for tests"),
        Option("testlkey", runtime=True, desc="Any text, for tests of localized values"),
        Option("testnewline", runtime=True, desc="Any text, for tests of several lines"),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing yet."""
        super().__init__(*args, **kwargs)
        self._health: dict[str, Any] = {}
        self._workload: faults.Workload | None = None
        self._wake = threading.Event()
        self._stopped = False
        self._notifications: list[str] = []
        self.watch_store(WATCHED)

    # -- the interface from inside ----------------------------------------------------------

    @SelftestCommand("mgr self-test run")
    @Responder()
    def run(self, check: str = "") -> Report:
        """Try what the module interface promises, all of it or one check."""
        if check and check not in CHECKS:
            raise ErrorResponse(f"no check {check!r}: there are {', '.join(CHECKS)}", -errno.ENOENT)
        return Report({name: self._check_error(name) for name in CHECKS if check in ("", name)})

    @SelftestCommand.Read("mgr self-test ls")
    @Responder()
    def checks(self) -> dict[str, str]:
        """Show the checks and what each tries."""
        return {name: str(check.__doc__) for name, check in CHECKS.items()}

    @SelftestCommand("mgr self-test module")
    def module(self, module: str) -> HandleCommandResult:
        """Run another module's own test."""
        try:
            advice = self.remote(module, "self_test")
        except (ImportError, NameError, RuntimeError) as error:
            return HandleCommandResult(-errno.EIO, "", f"Test failed: {error}")
        return HandleCommandResult(stdout=str(advice or "Self-test OK"))

    @SelftestCommand("mgr self-test remote")
    def test_remote(self) -> HandleCommandResult:
        """Call other modules: one that runs, one that does not, a method that is not there."""
        for name in ("remote_copies", "remote_fails_by_kind"):
            if trouble := self._check_error(name):
                return HandleCommandResult(-errno.EIO, "", f"Test failed: {trouble}")
        return HandleCommandResult(stdout="Successfully called")

    @SelftestCommand("mgr self-test insights_set_now_offset", idempotent=True)
    def insights_set_now_offset(self, hours: int) -> HandleCommandResult:
        """Move the clock of Ceph's module insights by hours, for tests of it."""
        try:
            self.remote("insights", "testing_set_now_time_offset", hours)
        except (ImportError, NameError) as error:
            why = f"module insights: {error}; it is Ceph's: enable it first"
            return HandleCommandResult(-errno.ENOENT, "", why)
        return HandleCommandResult()

    @SelftestCommand.Read("mgr self-test config get")
    def config_get(self, key: str) -> HandleCommandResult:
        """Show an option of this module as the module reads it."""
        return self._show(key, self.get_module_option)

    @SelftestCommand.Read("mgr self-test config get_localized")
    def config_get_localized(self, key: str) -> HandleCommandResult:
        """Show an option of this module as the module reads it for its manager."""
        return self._show(key, self.get_localized_module_option)

    @SelftestCommand.Read("mgr self-test python-version")
    def python_version(self) -> HandleCommandResult:
        """Show which Python runs the modules."""
        return HandleCommandResult(stdout=sys.version.partition(" ")[0])

    @SelftestCommand("mgr self-test cluster-log", idempotent=True)
    @EmptyResponder()
    def write_cluster_log(self, channel: str, priority: str, message: str) -> None:
        """Write a line to the cluster log."""
        if priority not in PRIORITIES:
            raise ErrorResponse(f"no priority {priority!r}: use {', '.join(PRIORITIES)}")
        self.cluster_log(channel, PRIORITIES[priority], message)

    @SelftestCommand("mgr self-test health set", idempotent=True)
    @EmptyResponder()
    def health_set(self, checks: str) -> None:
        """Raise health checks, as JSON: {"CODE": {"severity": "warning", "summary": "..."}}."""
        try:
            raised = json.loads(checks)
        except ValueError as error:
            raise ErrorResponse(f"Failed to decode JSON input: {error}") from None
        if not isinstance(raised, dict):
            raise ErrorResponse("expected checks by code: a JSON object")
        self._health.update(raised)
        self.set_health_checks(self._health)

    @SelftestCommand("mgr self-test health clear", idempotent=True)
    @EmptyResponder()
    def health_clear(self, checks: List[str] = []) -> None:  # noqa: B006, UP006 - never changed; as above
        """Clear the named health checks, or all."""
        for code in checks or list(self._health):
            self._health.pop(code, None)
        self.set_health_checks(self._health)

    # -- faults -----------------------------------------------------------------------------

    @SelftestCommand("mgr self-test background start")
    @EmptyResponder()
    def background_start(self, workload: faults.Workload) -> None:
        """Make serve() spin, throw, or hang for ever."""
        if self._workload is not None:
            raise ErrorResponse(f"already at work: {self._workload.value}", -errno.EBUSY)
        self._workload = workload
        self._wake.set()

    @SelftestCommand("mgr self-test background stop")
    @EmptyResponder()
    def background_stop(self) -> None:
        """Stop what serve() does, as far as that can be stopped."""
        self._workload = None

    @SelftestCommand("selftest crash")
    @EmptyResponder()
    def crash(self) -> None:
        """End the manager's process at once: nothing is flushed or reported."""
        faults.crash()

    @SelftestCommand("selftest block")
    @EmptyResponder()
    def block(self, secs: float) -> None:
        """Hold the interpreter lock: no other thread of the manager runs."""
        faults.block(secs)

    @SelftestCommand.Read("selftest sleep")
    @EmptyResponder()
    def sleep(self, secs: float) -> None:
        """Keep this module's command thread busy."""
        faults.sleep(secs)

    # -- what was done how often ------------------------------------------------------------

    @SelftestCommand("selftest append")
    @ErrorResponseHandler()
    def append(self, token: str) -> HandleCommandResult:
        """Count one application of a token; says how often it was applied by now."""
        return self._apply(token)

    @SelftestCommand("selftest put", idempotent=True)
    @ErrorResponseHandler()
    def put(self, token: str) -> HandleCommandResult:
        """As append, declared idempotent: a retry after a failover applies it again."""
        return self._apply(token)

    @SelftestCommand.Read("selftest applied")
    @Responder()
    def applied(self) -> dict[str, int]:
        """Show how often each token was applied."""
        stored = self.get_store_prefix(TOKENS)
        return {key.removeprefix(TOKENS): int(count) for key, count in stored.items()}

    @SelftestCommand.Read("selftest notifications")
    @Responder()
    def notifications(self) -> list[str]:
        """Show the notifications of watched keys that this instance got, in order."""
        return list(self._notifications)

    @SelftestCommand("selftest forget", idempotent=True)
    @EmptyResponder()
    def forget(self) -> None:
        """Forget every token."""
        for key in self.get_store_prefix(TOKENS):
            self.set_store(key, None)

    # -- lifecycle --------------------------------------------------------------------------

    def serve(self) -> None:
        """Run the faults that commands start, until ``shutdown``."""
        while not self._stopped:
            self._wake.wait()
            self._wake.clear()
            if self._workload is not None:
                work = self._workload
                faults.work(work, wanted=lambda: self._workload is work and not self._stopped)  # noqa: B023 - called within this round

    def notify(self, notify_type: str, notify_id: Any) -> None:
        """Record which of the watched keys changed."""
        if notify_type == "store":
            self._notifications.append(notify_id)

    def shutdown(self) -> None:
        """Make ``serve`` return, unless it hangs."""
        self._stopped = True
        self._wake.set()

    def self_test(self) -> str | None:
        """Run every check.

        Raises:
            CheckFailed: A check failed.

        """
        for name in CHECKS:
            if trouble := self._check_error(name):
                raise CheckFailed(f"{name}: {trouble}")
        return None

    # -- called by remote() -----------------------------------------------------------------

    def echo(self, thing: Any, *, word: str) -> list[Any]:
        """Return what was given."""
        return [thing, word]

    def fail(self, why: str) -> None:
        """Raise."""
        raise CheckFailed(why)

    def _show(self, key: str, read: Callable[[str], Any]) -> HandleCommandResult:
        names = [option["name"] for option in self.MODULE_OPTIONS]
        if key not in names:
            why = f"no option {key!r}: there are {', '.join(names)}"
            return HandleCommandResult(-errno.ENOENT, "", why)
        return HandleCommandResult(stdout=str(read(key)))

    def _check_error(self, name: str) -> str:
        try:
            CHECKS[name](self)
        except Exception as error:  # a check may find anything
            self.log.exception("check %s failed", name)
            return f"{type(error).__name__}: {error}"
        return ""

    def _apply(self, token: str) -> HandleCommandResult:
        if not token:
            raise ErrorResponse("an empty token cannot be counted")
        applied = int(self.get_store(TOKENS + token) or 0) + 1
        self.set_store(TOKENS + token, str(applied))
        return HandleCommandResult(stdout=str(applied))
