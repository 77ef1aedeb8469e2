"""What callers ask of the back end: the methods of ``Orchestrator``."""

from __future__ import annotations

import errno
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mgr_orchestrator import (
    DaemonDescription,
    HostSpec,
    Orchestrator,
    OrchestratorError,
    OrchestratorValidationError,
    PlannedStep,
    ServiceDescription,
    UpgradeStatusSpec,
    handle_orch_error,
)

from . import views
from .clock import now
from .desired import Desired
from .observer import Observer
from .reconciler import Host, plan
from .records import HostRecord, ServiceRecord
from .sender import Sender
from .specification import InvalidSpecificationError, parse, specification
from .steps import Action, Plan, Slot, Step

UNPLACED: Final = "unplaced"
"""The step of a dry run that tells what cannot be done, and why."""
ACTIONS: Final = ("start", "stop", "restart", "redeploy")


class BackEnd(Orchestrator):
    """Answers from what is stored and observed; changes what is stored and wakes the module."""

    _lock: threading.RLock
    _wake: threading.Event
    _desired: Desired
    _observer: Observer
    _sender: Sender
    _plans: dict[str, Plan]
    _hosts: list[Host]
    _unwanted: set[Step]

    def observe(self, now_s: float) -> None:
        """Take what the agents report now."""
        raise NotImplementedError

    def strays(self) -> dict[str, list[str]]:
        """Return the daemons of services that nobody knows, by host."""
        raise NotImplementedError

    @handle_orch_error
    def pause(self) -> str:
        """Carry out no further steps."""
        with self._lock:
            self._desired.set_paused(paused=True)
        return "orders are paused: what runs goes on"

    @handle_orch_error
    def resume(self) -> str:
        """Carry out steps again."""
        with self._lock:
            self._desired.set_paused(paused=False)
        self._wake.set()
        return "orders are sent again"

    @handle_orch_error
    def apply(self, specs: Sequence[Any], no_overwrite: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - Ceph's
        """Take specifications, as ``parse_specs`` returns them; all of them or none."""
        with self._lock:
            after = self._after(specs)
            if no_overwrite:
                after = {n: r for n, r in after.items() if n not in self._desired.services}
            before = dict(self._desired.services)
            self._desired.store_services(after)
            plans = self._plans_with({})
        self._wake.set()
        lines = []
        for name, record in after.items():
            same = before.get(name) == record
            what = "unchanged" if same else f"scheduled, generation {record.current.generation}"
            short = plans[name].short()
            lines.append(f"{name}: {what}" + (f"; {short}" if short else ""))
        return lines

    @handle_orch_error
    def plan(self, spec: Sequence[Any]) -> list[PlannedStep]:
        """Return the steps that ``apply`` would begin with."""
        with self._lock:
            self.observe(now())
            after = self._after(spec)
            plans = self._plans_with(after)
        steps = [
            PlannedStep(name, step.action.value, step.host, step.daemon, step.revision)
            for name in after
            for step in plans[name].steps
        ]
        shorts = [(name, short) for name in after if (short := plans[name].short())]
        return steps + [PlannedStep(name, UNPLACED, "", short, "") for name, short in shorts]

    def _plans_with(self, after: Mapping[str, ServiceRecord]) -> dict[str, Plan]:
        wanted = {**self._desired.services, **after}
        return plan([each.wanted() for each in wanted.values()], self._hosts)

    def parse_specs(self, text: str) -> list[dict[str, Any]]:
        """Return the specifications in ``text`` as plain data.

        Raises:
            OrchestratorValidationError: One is invalid.

        """
        try:
            return [views.plain(each) for each in parse(text)]
        except InvalidSpecificationError as error:
            raise OrchestratorValidationError(str(error)) from None

    def _after(self, specs: Sequence[Any]) -> dict[str, ServiceRecord]:
        found = {}
        for each in specs:
            try:
                spec = specification(each)
            except InvalidSpecificationError as error:
                raise OrchestratorValidationError(str(error)) from None
            self._desired.check_secrets(spec)
            found[spec.service] = self._desired.applied(spec)
        return found

    @handle_orch_error
    def remove_service(self, service_name: str, force: bool = False) -> str:  # noqa: FBT001, FBT002, ARG002 - Ceph's
        """Remove a service and its daemons."""
        with self._lock:
            record = self._desired.service(service_name)
            self._desired.store_services({service_name: record.removing()})
            self._observer.forget(service_name)
        self._wake.set()
        return f"{service_name} is being removed"

    @handle_orch_error
    def service_action(self, action: str, service_name: str) -> list[str]:
        """``start``, ``stop``, ``restart`` or ``redeploy`` all daemons of a service."""
        with self._lock:
            record = self._desired.service(service_name)
            names = [slot.daemon(service_name) for slot in record.slots]
            self._act(record, action, names)
        return [f"{name}: {action} scheduled" for name in names]

    @handle_orch_error
    def daemon_action(self, action: str, daemon_name: str, image: str | None = None) -> str:
        """``start``, ``stop``, ``restart`` or ``redeploy`` one daemon."""
        if image is not None:
            raise OrchestratorValidationError("the image stands in the specification: orch apply")
        with self._lock:
            record, _ = self._slot(daemon_name)
            self._act(record, action, [daemon_name])
        return f"{daemon_name}: {action} scheduled"

    def _act(self, record: ServiceRecord, action: str, names: Sequence[str]) -> None:
        if action not in ACTIONS:
            raise OrchestratorValidationError(f"{action!r}: use one of {', '.join(ACTIONS)}")
        if action in {"start", "stop"}:
            new = record.stopping(names, stop=action == "stop")
        else:
            new = record.restarted(names)
        self._desired.store_services({record.name: new})
        self._wake.set()

    @handle_orch_error
    def remove_daemons(self, names: Sequence[str]) -> list[str]:
        """Remove daemons; those of a service are placed again, strays are gone."""
        with self._lock:
            lost = {n: host for host, each in self.strays().items() for n in each}
            # All are looked up before one is removed.
            found = [(name, *self._slot(name)) for name in names if name not in lost]
            self._unwanted |= {
                Step(Action.REMOVE, lost[name], "", name) for name in names if name in lost
            }
            changed: dict[str, ServiceRecord] = {}
            for name, record, slot in found:
                # Placed again where it was, it is started again.
                again = changed.get(record.name, record).restarted([name])
                changed[record.name] = again.without([slot])
            self._desired.store_services(changed)
        self._wake.set()
        return [f"{name} is being removed" for name in names]

    def _slot(self, daemon: str) -> tuple[ServiceRecord, Slot]:
        for record in self._desired.services.values():
            for slot in record.slots:
                if slot.daemon(record.name) == daemon:
                    return record, slot
        raise OrchestratorError(f"there is no daemon {daemon!r}: see orch ps", -2)

    @handle_orch_error
    def describe_service(
        self,
        service_type: str | None = None,
        service_name: str | None = None,
        refresh: bool = False,  # noqa: FBT001, FBT002, ARG002 - Ceph's
    ) -> list[ServiceDescription]:
        """Return the services."""
        wanted = service_name or service_type
        with self._lock:
            return [
                views.service(record, self._plans.get(name))
                for name, record in sorted(self._desired.services.items())
                if wanted in {None, name}
            ]

    @handle_orch_error
    def list_daemons(
        self,
        service_name: str | None = None,
        daemon_type: str | None = None,
        daemon_id: str | None = None,
        host: str | None = None,
        refresh: bool = False,  # noqa: FBT001, FBT002, ARG002 - Ceph's
    ) -> list[DaemonDescription]:
        """Return the daemons that hosts report, and those that are wanted and missing."""
        with self._lock:
            found = views.daemons(self._desired.services, self._hosts, self._observer.report)
        service = service_name or daemon_type
        return [
            each
            for each in found
            if service in {None, each.service_name}
            and daemon_id in {None, each.daemon_id}
            and host in {None, each.hostname}
        ]

    # -- hosts ------------------------------------------------------------------------------

    @handle_orch_error
    def get_hosts(self) -> list[HostSpec]:
        """Return the hosts."""
        with self._lock:
            states = {host.name: host for host in self._hosts}
            return [
                views.host(name, record, states.get(name))
                for name, record in sorted(self._desired.hosts.items())
                if not record.excluded
            ]

    @handle_orch_error
    def add_host(self, host_spec: HostSpec) -> str:
        """Add a host, before or after its agent first reports; labels are added to its others."""
        name = host_spec.hostname
        with self._lock:
            before = self._desired.hosts.get(name)
            labels = {*(before.labels if before else ()), *host_spec.labels}
            record = HostRecord(
                address=host_spec.addr,
                labels=tuple(sorted(labels)),
                joined=before is not None and before.joined,
            )
            self._desired.store_hosts({name: record})
        self._wake.set()
        return f"added host {name}"

    @handle_orch_error
    def remove_host(self, host: str, force: bool = False, offline: bool = False) -> str:  # noqa: FBT001, FBT002 - Ceph's
        """Remove a host on which nothing is left; with ``force`` or ``offline`` in any case."""
        with self._lock:
            record = self._desired.host(host)
            left = {
                slot.daemon(each.name)
                for each in self._desired.services.values()
                for slot in each.slots
                if slot.host == host
            }
            if (report := self._observer.report(host)) is not None:
                left |= report.daemons.keys()  # drained ones stay until they are replaced
            if left and not (force or offline):
                first = f"wait: 'orch ps {host}' shows them"
                first = first if record.draining else f"run 'orch host drain {host}' first"
                raise OrchestratorError(
                    f"{host} has {len(left)} daemons, {min(left)} among them: {first}; "
                    "--force if the host is gone for good",
                    -errno.EBUSY,
                )
            excluded = msgspec.structs.replace(record, draining=False, excluded=True)
            self._desired.store_hosts({host: excluded})
        self._wake.set()
        return f"removed host {host}; 'orch host add {host}' lets it come back"

    @handle_orch_error
    def drain_host(self, hostname: str, force: bool = False) -> str:  # noqa: FBT001, FBT002, ARG002 - Ceph's
        """Move all daemons away from a host."""
        with self._lock:
            self._desired.change_host(hostname, draining=True)
        self._wake.set()
        return f"{hostname} is being drained; 'orch host add {hostname}' ends that"

    @handle_orch_error
    def add_host_label(self, host: str, label: str) -> str:
        """Add a label to a host."""
        with self._lock:
            labels = {*self._desired.host(host).labels, label}
            self._desired.change_host(host, labels=tuple(sorted(labels)))
        self._wake.set()
        return f"added label {label} to host {host}"

    @handle_orch_error
    def remove_host_label(self, host: str, label: str, force: bool = False) -> str:  # noqa: FBT001, FBT002, ARG002 - Ceph's
        """Remove a label from a host."""
        with self._lock:
            labels = {*self._desired.host(host).labels} - {label}
            self._desired.change_host(host, labels=tuple(sorted(labels)))
        self._wake.set()
        return f"removed label {label} from host {host}"

    @handle_orch_error
    def host_ok_to_stop(self, hostname: str) -> str:
        """Check whether a service would be left with fewer daemons than it may have."""
        with self._lock:
            self._desired.host(hostname)
            short = views.short_without(hostname, self._desired.services, self._plans)
        if short:
            raise OrchestratorError(f"{hostname} is needed by {', '.join(short)}", -16)
        return f"{hostname} may be stopped"

    # -- updates ----------------------------------------------------------------------------

    @handle_orch_error
    def upgrade_start(self, image: str, services: Sequence[str] | None = None) -> str:
        """Bring services to another image; by default all with an image of the same repository."""
        with self._lock:
            chosen = views.to_upgrade(self._desired.services, image, services)
            if not chosen:
                raise OrchestratorError(
                    f"no service runs an image of {views.repository(image)}", -2
                )
            self._desired.store_services(
                {name: self._desired.services[name].applied(spec) for name, spec in chosen.items()}
            )
        self._wake.set()
        return f"upgrading {', '.join(chosen)} to {image}"

    @handle_orch_error
    def upgrade_pause(self) -> str:
        """Stop replacing daemons, for now."""
        return self._hold(held=True)

    @handle_orch_error
    def upgrade_resume(self) -> str:
        """Go on after ``upgrade_pause``."""
        return self._hold(held=False)

    def _hold(self, *, held: bool) -> str:
        with self._lock:
            chosen = {
                name: record.holding(held=held)
                for name, record in self._desired.services.items()
                if (record.phase == "updating" if held else record.held)
            }
            if not chosen:
                raise OrchestratorError(
                    "no update is in progress" if held else "none is paused", -2
                )
            self._desired.store_services(chosen)
        self._wake.set()
        return f"{'paused' if held else 'resumed'}: {', '.join(chosen)}"

    @handle_orch_error
    def upgrade_stop(self) -> str:
        """Return services that are being updated to what they ran before."""
        with self._lock:
            chosen = {
                name: record.backing_out("stopped by an operator")
                for name, record in self._desired.services.items()
                if record.phase == "updating" and record.good is not None
            }
            if not chosen:
                raise OrchestratorError("no update is in progress that could be undone", -2)
            self._desired.store_services(chosen)
        self._wake.set()
        return f"going back: {', '.join(chosen)}"

    @handle_orch_error
    def upgrade_status(self) -> UpgradeStatusSpec:
        """Return how far updates are."""
        with self._lock:
            return views.upgrade(self._desired.services, self._plans)

    # -- secrets ----------------------------------------------------------------------------

    def set_secret(self, name: str, value: str | None) -> list[str]:
        """Store a secret, or remove it with None; return the services that get it again.

        Raises:
            OrchestratorError: It is needed, or its name is invalid.

        """
        with self._lock:
            used = self._desired.set_secret(name, value)
        self._wake.set()
        return used

    def secrets(self) -> Mapping[str, list[str]]:
        """Return the services that use each secret, by its name."""
        with self._lock:
            return self._desired.secret_users()
