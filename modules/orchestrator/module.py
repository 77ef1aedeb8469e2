"""Orchestrator: the commands ``orch ...``. The back end that is set does the work.

A back end is a module that inherits ``Orchestrator``: the bundled ``agents``, or another one.
No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any, List, Optional, TypeVar  # noqa: UP035 - as commands are declared

from mgr_module import CLICommand, CLIReadCommand, HandleCommandResult, MgrModule, Option
from mgr_orchestrator import (
    HostSpec,
    NoOrchestrator,
    OrchestratorClientMixin,
    OrchestratorError,
    OrchestratorNotRunningError,
    OrchResult,
    raise_if_exception,
)

from . import show

EINVAL = -22
ENOENT = -2
ENOTSUP = -95
DEFAULT = "agents"
"""The back end that is used if it is enabled and none is set."""
ROUND_S = 0.1
ROUNDS = 50
"""How often a command looks for a back end that does not run yet."""

F = TypeVar("F", bound=Callable[..., HandleCommandResult])


def answered(function: F) -> F:
    """Make errors of the back end the answer of a command."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> HandleCommandResult:
        try:
            return function(*args, **kwargs)
        except OrchestratorError as error:
            return HandleCommandResult(error.errno, "", str(error))
        except NotImplementedError:
            return HandleCommandResult(ENOTSUP, "", "This Orchestrator does not support this")

    return command  # type: ignore[return-value]  # the same signature


def _text(text: str) -> HandleCommandResult:
    """Return a command's answer for people."""
    return HandleCommandResult(stdout=text)


def _lines(result: OrchResult[list[str]]) -> HandleCommandResult:
    found = raise_if_exception(result)
    return _text("\n".join(found))


class Module(OrchestratorClientMixin, MgrModule):
    """The commands."""

    EFFECTS = "store"
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        Option(
            "orchestrator",
            type="str",
            default="",
            runtime=True,
            desc="The module that is the back end; empty: agents, if it is enabled",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing that waits."""
        super().__init__(*args, **kwargs)
        self._stopped = threading.Event()

    def _select_orchestrator(self) -> str | None:
        chosen = str(self.get_module_option("orchestrator") or "")
        if chosen:
            return chosen
        if DEFAULT in self.get("mgr_map")["modules"]:
            return DEFAULT
        try:  # right after a failover the map may not list it yet
            self.remote(DEFAULT, "is_orchestrator_module")
        except (ImportError, NameError):
            return None
        return DEFAULT

    def _oremote(self, meth: str, args: Any, kwargs: Any) -> Any:
        # After a failover all modules start at the same time: the back end may be a little later.
        for _ in range(ROUNDS):
            try:
                return super()._oremote(meth, args, kwargs)
            except OrchestratorNotRunningError:
                if self._stopped.wait(ROUND_S):
                    raise
        return super()._oremote(meth, args, kwargs)

    def shutdown(self) -> None:
        """Let commands wait for the back end no longer."""
        self._stopped.set()
        super().shutdown()

    # -- the back end -----------------------------------------------------------------------

    @CLICommand("orch set backend", perm="rw", idempotent=True)
    @answered
    def set_backend(self, module_name: Optional[str] = None) -> HandleCommandResult:  # noqa: UP045 - as commands are declared
        """Select orchestrator module backend; without a name: none."""
        if module_name:
            try:
                is_one = self.remote(module_name, "is_orchestrator_module")
            except (ImportError, NameError):
                is_one = False
            if not is_one:
                why = f"Module '{module_name}' is not an orchestrator module that runs"
                return HandleCommandResult(ENOENT, "", why)
        self.set_module_option("orchestrator", module_name or None)
        return HandleCommandResult()

    @CLIReadCommand("orch status")
    @answered
    def status(self, detail: bool = False, format: str = "plain") -> HandleCommandResult:  # noqa: A002, FBT001, FBT002 - Ceph's
        """Report configured backend and its status."""
        chosen = self._select_orchestrator()
        if chosen is None:
            raise NoOrchestrator
        available, why, facts = self.available()
        document = {"backend": chosen, "available": available, "reason": why, **facts}
        lines = [f"Backend: {chosen}", f"Available: {'Yes' if available else 'No'}"]
        lines += [f"Note: {why}"] if why else []
        lines += [f"{name}: {value}" for name, value in facts.items()] if detail else []
        return _text(show.formatted(document, format, "\n".join(lines)))

    @CLICommand("orch pause", perm="rw", idempotent=True)
    @answered
    def orch_pause(self) -> HandleCommandResult:
        """Pause orchestrator background work; what runs goes on."""
        return _text(raise_if_exception(self.pause()))

    @CLICommand("orch resume", perm="rw", idempotent=True)
    @answered
    def orch_resume(self) -> HandleCommandResult:
        """Resume orchestrator background work (if paused)."""
        return _text(raise_if_exception(self.resume()))

    # -- hosts ------------------------------------------------------------------------------

    @CLIReadCommand("orch host ls")
    @answered
    def host_ls(self, format: str = "plain") -> HandleCommandResult:  # noqa: A002 - Ceph's
        """List hosts."""
        found = raise_if_exception(self.get_hosts())
        return _text(show.formatted([each.to_json() for each in found], format, show.hosts(found)))

    @CLICommand("orch host add", perm="rw", idempotent=True)
    @answered
    def host_add(
        self,
        hostname: str,
        addr: Optional[str] = None,  # noqa: UP045 - as commands are declared
        labels: Optional[List[str]] = None,  # noqa: UP006, UP045 - as above
    ) -> HandleCommandResult:
        """Add a host, or end its drain."""
        spec = HostSpec(hostname, addr or "", list(labels or ()))
        return _text(raise_if_exception(self.add_host(spec)))

    @CLICommand("orch host rm", perm="rw", idempotent=True)
    @answered
    def host_rm(
        self,
        hostname: str,
        force: bool = False,  # noqa: FBT001, FBT002 - Ceph's
        offline: bool = False,  # noqa: FBT001, FBT002 - Ceph's
    ) -> HandleCommandResult:
        """Remove a host on which nothing is left."""
        return _text(raise_if_exception(self.remove_host(hostname, force, offline)))

    @CLICommand("orch host drain", perm="rw", idempotent=True)
    @answered
    def host_drain(self, hostname: str, force: bool = False) -> HandleCommandResult:  # noqa: FBT001, FBT002 - Ceph's
        """Drain all daemons from a host."""
        return _text(raise_if_exception(self.drain_host(hostname, force)))

    @CLICommand("orch host label add", perm="rw", idempotent=True)
    @answered
    def host_label_add(self, hostname: str, label: str) -> HandleCommandResult:
        """Add a host label."""
        return _text(raise_if_exception(self.add_host_label(hostname, label)))

    @CLICommand("orch host label rm", perm="rw", idempotent=True)
    @answered
    def host_label_rm(self, hostname: str, label: str, force: bool = False) -> HandleCommandResult:  # noqa: FBT001, FBT002 - Ceph's
        """Remove a host label."""
        return _text(raise_if_exception(self.remove_host_label(hostname, label, force)))

    @CLIReadCommand("orch host ok-to-stop")
    @answered
    def host_ok(self, hostname: str) -> HandleCommandResult:
        """Check if the specified host can be safely stopped without reducing availability."""
        return _text(raise_if_exception(self.host_ok_to_stop(hostname)))

    @CLIReadCommand("orch device ls")
    @answered
    def device_ls(
        self,
        hostname: Optional[List[str]] = None,  # noqa: UP006, UP045 - as commands are declared
        format: str = "plain",  # noqa: A002 - Ceph's
        refresh: bool = False,  # noqa: FBT001, FBT002 - Ceph's
    ) -> HandleCommandResult:
        """List devices on hosts."""
        found = raise_if_exception(self.get_inventory(hostname or None, refresh))
        return _text(
            show.formatted([each.to_json() for each in found], format, show.devices(found))
        )

    # -- services and daemons ---------------------------------------------------------------

    @CLIReadCommand("orch ls")
    @answered
    def ls(
        self,
        service_name: Optional[str] = None,  # noqa: UP045 - as commands are declared
        export: bool = False,  # noqa: FBT001, FBT002 - Ceph's
        format: str = "plain",  # noqa: A002 - Ceph's
        refresh: bool = False,  # noqa: FBT001, FBT002 - Ceph's
    ) -> HandleCommandResult:
        """List services known to orchestrator; --export: as specifications to apply."""
        found = raise_if_exception(
            self.describe_service(service_name=service_name, refresh=refresh)
        )
        if export:
            specs = [each.spec for each in found]
            return _text(show.formatted(specs, "yaml" if format == "plain" else format, ""))
        return _text(
            show.formatted([each.to_json() for each in found], format, show.services(found))
        )

    @CLIReadCommand("orch ps")
    @answered
    def ps(
        self,
        hostname: Optional[str] = None,  # noqa: UP045 - as commands are declared
        _end_positional_: int = 0,  # noqa: ARG002 - ends what is positional
        service_name: Optional[str] = None,  # noqa: UP045 - as above
        daemon_type: Optional[str] = None,  # noqa: UP045 - as above
        format: str = "plain",  # noqa: A002 - Ceph's
        refresh: bool = False,  # noqa: FBT001, FBT002 - Ceph's
    ) -> HandleCommandResult:
        """List daemons known to orchestrator."""
        found = raise_if_exception(
            self.list_daemons(service_name, daemon_type, None, hostname, refresh)
        )
        return _text(
            show.formatted([each.to_json() for each in found], format, show.daemons(found))
        )

    @CLICommand("orch apply", perm="rw", idempotent=True)
    @answered
    def orch_apply(
        self,
        dry_run: bool = False,  # noqa: FBT001, FBT002 - Ceph's
        format: str = "plain",  # noqa: A002 - Ceph's
        no_overwrite: bool = False,  # noqa: FBT001, FBT002 - Ceph's
        inbuf: Optional[str] = None,  # noqa: UP045 - as commands are declared
    ) -> HandleCommandResult:
        """Apply service specifications (use -i <yamlfile>); --dry-run shows the first steps."""
        if not inbuf:
            return HandleCommandResult(EINVAL, "", "give specifications with -i FILE")
        specs = self._oremote("parse_specs", (inbuf,), {})
        if dry_run:
            steps = raise_if_exception(self.plan(specs))
            documents = [each.to_json() for each in steps]
            return _text(show.formatted(documents, format, show.steps(steps)))
        return _lines(self.apply(specs, no_overwrite))

    @CLICommand("orch rm", perm="rw", idempotent=True)
    @answered
    def rm(self, service_name: str, force: bool = False) -> HandleCommandResult:  # noqa: FBT001, FBT002 - Ceph's
        """Remove a service and its daemons."""
        return _text(raise_if_exception(self.remove_service(service_name, force)))

    @CLICommand("orch start", perm="rw", idempotent=True)
    @answered
    def start(self, service_name: str) -> HandleCommandResult:
        """Start all daemons of a service."""
        return self._service("start", service_name)

    @CLICommand("orch stop", perm="rw", idempotent=True)
    @answered
    def stop(self, service_name: str) -> HandleCommandResult:
        """Stop all daemons of a service."""
        return self._service("stop", service_name)

    @CLICommand("orch restart", perm="rw")
    @answered
    def restart(self, service_name: str) -> HandleCommandResult:
        """Restart the daemons of a service, one after the other."""
        return self._service("restart", service_name)

    @CLICommand("orch redeploy", perm="rw")
    @answered
    def redeploy(self, service_name: str) -> HandleCommandResult:
        """Deploy the daemons of a service again, one after the other."""
        return self._service("redeploy", service_name)

    def _service(self, action: str, name: str) -> HandleCommandResult:
        return _lines(self.service_action(action, name))

    @CLICommand("orch daemon start", perm="rw", idempotent=True)
    @answered
    def daemon_start(self, name: str) -> HandleCommandResult:
        """Start a daemon that was stopped."""
        return _text(raise_if_exception(self.daemon_action("start", name)))

    @CLICommand("orch daemon stop", perm="rw", idempotent=True)
    @answered
    def daemon_stop(self, name: str) -> HandleCommandResult:
        """Stop a daemon until it is started again."""
        return _text(raise_if_exception(self.daemon_action("stop", name)))

    @CLICommand("orch daemon restart", perm="rw")
    @answered
    def daemon_restart(self, name: str) -> HandleCommandResult:
        """Restart a daemon."""
        return _text(raise_if_exception(self.daemon_action("restart", name)))

    @CLICommand("orch daemon redeploy", perm="rw")
    @answered
    def daemon_redeploy(
        self,
        name: str,
        image: Optional[str] = None,  # noqa: UP045 - as commands are declared
    ) -> HandleCommandResult:
        """Deploy a daemon again."""
        return _text(raise_if_exception(self.daemon_action("redeploy", name, image)))

    @CLICommand("orch daemon rm", perm="rw", idempotent=True)
    @answered
    def daemon_rm(self, names: List[str], force: bool = False) -> HandleCommandResult:  # noqa: FBT001, FBT002, UP006, ARG002 - Ceph's
        """Remove daemons: those of a service are placed again, strays are gone."""
        return _lines(self.remove_daemons(names))

    # -- updates ----------------------------------------------------------------------------

    @CLICommand("orch upgrade start", perm="rw", idempotent=True)
    @answered
    def orch_upgrade_start(
        self,
        image: str,
        _end_positional_: int = 0,  # noqa: ARG002 - ends what is positional
        services: Optional[str] = None,  # noqa: UP045 - as commands are declared
    ) -> HandleCommandResult:
        """Bring services to another image; --services=a,b: these instead of all that run it."""
        chosen = services.split(",") if services else None
        return _text(raise_if_exception(self.upgrade_start(image, chosen)))

    @CLIReadCommand("orch upgrade status")
    @answered
    def orch_upgrade_status(self) -> HandleCommandResult:
        """Check the status of any potential ongoing upgrade operation."""
        found = raise_if_exception(self.upgrade_status())
        return _text(show.formatted(found.to_json(), "json-pretty", ""))

    @CLICommand("orch upgrade pause", perm="rw", idempotent=True)
    @answered
    def orch_upgrade_pause(self) -> HandleCommandResult:
        """Pause updates that are in progress."""
        return _text(raise_if_exception(self.upgrade_pause()))

    @CLICommand("orch upgrade resume", perm="rw", idempotent=True)
    @answered
    def orch_upgrade_resume(self) -> HandleCommandResult:
        """Resume paused updates."""
        return _text(raise_if_exception(self.upgrade_resume()))

    @CLICommand("orch upgrade stop", perm="rw", idempotent=True)
    @answered
    def orch_upgrade_stop(self) -> HandleCommandResult:
        """Stop updates that are in progress, and return to what ran before."""
        return _text(raise_if_exception(self.upgrade_stop()))
