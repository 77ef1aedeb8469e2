"""Agents: deploys services to the hosts that run ``mgr-agent``; the back end of ``orch``.

What is wanted is stored; what is, the agents report. The reconciler compares both twice a second
and after every command and answer; its steps are sent to the agents as orders. Before an order
leaves, the slots that it follows from are stored and the audit has its record: both are writes
that only the active manager can make, and the agent refuses orders of an older term. So a manager
that is not active any more changes nothing, and the module may start at once (``store``).
No ``from __future__ import annotations`` here: commands are derived from annotations.
"""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from mgr_module import (
    CLICheckNonemptyFileInput,
    CLICommand,
    CLIReadCommand,
    HandleCommandResult,
    MgrModule,
    Option,
)
from mgr_orchestrator import InventoryHost, OrchestratorError, handle_orch_error

from . import health, views
from .back_end import BackEnd
from .clock import now
from .desired import Desired
from .observer import KIND, Observer
from .reconciler import Host, plan, strays
from .records import Refusal, ServiceRecord
from .sender import Answers, Sender
from .steps import Plan, Step

REFUSED_S: Final = 60.0
"""A step that a host refused is not ordered again for so long."""
STUCK_S: Final = 10.0
"""After so long without a comparison that succeeded there is a health check."""


class Completed:
    """Receives the answer of an agent; see ``MgrModule.send_command``."""

    def __init__(self, complete: Callable[[int, str, str], None]) -> None:
        """Pass the answer to ``complete``."""
        self.complete = complete


class Module(BackEnd, MgrModule):
    """Reconciles; what callers ask of it stands in ``BackEnd``."""

    EFFECTS = "store"
    SECRET_STORE_KEYS = ("secret/",)
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it, as to every module's
        Option(
            "host_grace",
            type="secs",
            default=60,
            min=1,
            runtime=True,
            desc="How long a host may be silent before its daemons are placed elsewhere",
        ),
        Option(
            "lost_hosts_max",
            type="float",
            default=0.34,
            min=0,
            max=1,
            runtime=True,
            desc="Share of the hosts that may be lost at a time; beyond it nothing is moved",
        ),
        Option(
            "auto_join",
            type="bool",
            default=True,
            runtime=True,
            desc="Add a host when its agent first reports that it takes orders",
        ),
        Option(
            "interval",
            type="float",
            default=0.5,
            min=0.05,
            max=60,
            runtime=True,
            desc="Seconds between two comparisons of what is wanted and what is",
        ),
    ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Load what is wanted."""
        super().__init__(*args, **kwargs)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stop = False
        self._desired = Desired(self)
        self._observer = Observer(lambda host: self.get_daemon_status(KIND, host))
        self._sender = Sender(self.get_term(), Answers(self._send, self._answered))
        self._plans: dict[str, Plan] = {}
        self._hosts: list[Host] = []
        self._unwanted: set[Step] = set()
        self._shown: set[str] = set()
        self._checks: dict[str, Any] | None = None
        self._failing_since_s: float | None = None
        self._planned: Any = None

    # -- lifecycle --------------------------------------------------------------------------

    def serve(self) -> None:
        """Reconcile until ``shutdown``."""
        while not self._stop:
            self._wake.clear()
            self.attempt()
            self._wake.wait(float(self.get_module_option("interval")))

    def attempt(self) -> None:
        """Reconcile once; what keeps failing is shown."""
        try:
            self.reconcile()
        except Exception as error:  # whatever the store raises: the next round reads it again
            self.log.exception("reconciling failed, trying again")
            with self._lock:
                self._desired.doubtful = True
                self._failing_since_s = self._failing_since_s or now()
                if now() - self._failing_since_s >= STUCK_S:
                    # The others stay: they are the last that is known.
                    self._raise({**(self._checks or {}), **health.stuck(error)})
        else:
            self._failing_since_s = None

    def _reload(self) -> None:
        """Read again what is stored: whether the last write arrived is unknown."""
        self._desired = Desired(self)
        self._planned = None

    def shutdown(self) -> None:
        """Make ``serve`` return."""
        self._stop = True
        self._wake.set()
        super().shutdown()

    # -- reconciling ------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Compare what is wanted with what is, store what follows, and order what is due."""
        with self._lock:
            now_s = now()
            if self._desired.doubtful:
                self._reload()
            self.observe(now_s)
            if (seen := self._seen()) != self._planned:
                if self._decide():
                    self._decide()  # a service arrived, failed or goes back: other steps are due
                self._show()
                # Its own changes count as seen only if they led to no further ones.
                self._planned = seen if seen == self._seen() else None
            if self._unwanted:  # strays that an operator removes, until their hosts have done so
                left = {(host, name) for host, names in self.strays().items() for name in names}
                self._unwanted = {it for it in self._unwanted if (it.host, it.daemon) in left}
            if not self._desired.paused:
                steps = [step for each in self._plans.values() for step in each.steps]
                self._sender.send([*steps, *self._unwanted], self._config, now_s)

    def _seen(self) -> Any:
        """Return what tells one input of the reconciler from another."""
        states = tuple((host.state, host.late) for host in self._hosts)
        return self._observer.generation, self._desired.generation, states

    def observe(self, now_s: float) -> None:
        """Take what the agents report now."""
        self._observer.read(self.get_daemons(), now_s)
        able = self._observer.able()
        self._desired.note_joined(able)
        if self.get_module_option("auto_join"):
            self._desired.join(able)
        self._hosts = self._observer.hosts(
            self._desired.hosts,
            now_s,
            grace_s=float(self.get_module_option("host_grace")),
            filling=bool(self.get("fleet_status")["filling"]),
            lost_max=float(self.get_module_option("lost_hosts_max")),
        )

    def _decide(self) -> bool:
        """Make the plans; return whether a service has another phase now."""
        services = self._desired.services
        plans = plan([record.wanted() for record in services.values()], self._hosts)
        after: dict[str, ServiceRecord | None] = {}
        for name, record in services.items():
            new = record.after(plans[name])
            if record.removed and plans[name].done:
                after[name] = None
            elif new is not record:
                after[name] = new
        news = [
            (services[name], new)
            for name, new in after.items()
            if new is None or new.phase != services[name].phase
        ]
        self._desired.store_services(after)
        for before, later in news:
            self._announce(before, later)
        self._plans = {name: plans[name] for name in self._desired.services}
        return bool(news)

    def _announce(self, before: ServiceRecord, new: ServiceRecord | None) -> None:
        text, bad = views.news(before, new)
        self.log.log(30 if bad else 20, "%s", text)
        priority = self.ClusterLogPrio.WARN if bad else self.ClusterLogPrio.INFO
        self.cluster_log("cluster", priority, text)

    def _show(self) -> None:
        checks = health.checks(
            self._desired.services, self._plans, self._hosts, self.strays(), self._desired.paused
        )
        self._raise(checks)
        events = health.events(self._desired.services, self._plans, self._hosts)
        for gone in self._shown - events.keys():
            self.complete_progress_event(gone)
        self._shown = set(events)
        for name, (text, share) in events.items():
            self.update_progress_event(name, text, share, True)  # noqa: FBT003 - ceph-mgr's

    def _raise(self, checks: dict[str, Any]) -> None:
        if checks != self._checks:  # the first time in any case: those of the last term end
            self._checks = checks
            self.set_health_checks(checks)

    def strays(self) -> dict[str, list[str]]:
        """Return the daemons of services that nobody knows, by host."""
        return strays((each.wanted() for each in self._desired.services.values()), self._hosts)

    # -- orders -----------------------------------------------------------------------------

    def _config(self, step: Step) -> dict[str, Any] | None:
        record = self._desired.services.get(step.service)
        if record is None:
            return None
        return record.target.spec.config(self._desired.secrets(record.target.spec))

    def _send(self, host: str, text: str, complete: Callable[[int, str, str], None]) -> None:
        command = json.dumps({"prefix": "orders apply"})
        self.send_command(Completed(complete), KIND, host, command, "", text)

    def _answered(self, host: str, steps: list[Step], retval: int, outb: str, outs: str) -> None:
        now_s = now()
        by_key = self._sender.settle(host, steps, now_s, arrived=not retval)
        if retval:
            self.log.warning("orders for %s failed, retrying: %s", host, outs)
        else:
            answer = json.loads(outb)
            with self._lock:
                self._observer.answered(host, answer["state"])
                for key, why in answer["results"].items():
                    if why and key in by_key:
                        step = by_key[key]
                        record = self._desired.services.get(step.service)
                        if record is None or record.removed:
                            continue  # its removal need not wait until the refusal is forgotten
                        refusal = Refusal(step.revision, why, now_s + REFUSED_S)
                        self._observer.refused(host, step.daemon, refusal)
        self._wake.set()

    # -- what needs the manager -----------------------------------------------------------

    def available(self) -> tuple[bool, str, dict[str, Any]]:
        """Return whether a host takes orders."""
        with self._lock:
            able = len(self._observer.able())
            facts = {"hosts": able, "orders": self._sender.orders, "term": self.get_term()}
        why = "" if able else "no host takes orders: see [deploy] in the settings of mgr-agent"
        return True, why, facts

    @handle_orch_error
    def get_inventory(
        self,
        host_filter: Sequence[str] | None = None,
        refresh: bool = False,  # noqa: FBT001, FBT002, ARG002 - Ceph's
    ) -> list[InventoryHost]:
        """Return the devices that agents report."""
        return views.inventory(self.get("devices")["devices"], host_filter)

    # -- secrets ----------------------------------------------------------------------------

    @CLICommand("orch secret set", perm="rw", idempotent=True)
    @CLICheckNonemptyFileInput(desc="the secret")
    def secret_set(self, name: str, inbuf: str) -> HandleCommandResult:
        """Store a secret (use -i <file>); services that use it are updated."""
        try:
            used = self.set_secret(name, inbuf)
        except OrchestratorError as error:
            return HandleCommandResult(error.errno, "", str(error))
        more = f"; updating {', '.join(used)}" if used else ""
        return HandleCommandResult(stderr=f"secret {name} is stored{more}")

    @CLICommand("orch secret rm", perm="rw", idempotent=True)
    def secret_rm(self, name: str) -> HandleCommandResult:
        """Remove a secret that no service uses."""
        try:
            self.set_secret(name, None)
        except OrchestratorError as error:
            return HandleCommandResult(error.errno, "", str(error))
        return HandleCommandResult(stderr=f"secret {name} is removed")

    @CLIReadCommand("orch secret ls")
    def secret_ls(self) -> HandleCommandResult:
        """List the names of secrets and the services that use them."""
        return HandleCommandResult(stdout=json.dumps(self.secrets(), indent=4))
