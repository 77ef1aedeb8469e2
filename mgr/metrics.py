"""The Prometheus metrics of a worker. Each worker has its own registry; there is no global one."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from mgr.errors import OutcomeUnknownError, StoreUnavailableError
from mgr.version import installed_version

ROLES: Final = ("joining", "standby", "starting", "active", "suspended", "draining")
ALERTED_FAILURES: Final = (StoreUnavailableError.reason, OutcomeUnknownError.reason)
"""Reasons of failed requests of which ``deploy/observability`` warns."""
COMMAND_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5)
ETCD_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
UNLED_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class CommandNumbers(Protocol):
    """Knows how many commands run and wait."""

    @property
    def running(self) -> int:
        """Commands that run."""
        ...

    @property
    def queued(self) -> int:
        """Commands that wait."""
        ...


class Metrics:
    """Every metric, with the name that it has at ``/metrics``."""

    def __init__(self) -> None:
        """Create all metrics, with the value 0."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Info(
            "mgr_build", "Version of this manager and of its Python", registry=self.registry
        )
        build.info({"version": installed_version(), "python": platform.python_version()})
        self.leadership = LeadershipMetrics(self.registry)
        self.etcd = EtcdMetrics(self.registry)
        self._role = Enum(
            "mgr_role",
            "The role of this manager",
            states=list(ROLES),
            registry=self.registry,
        )
        self.term = Gauge(
            "mgr_term", "Term in which this worker leads, 0 if in none", registry=self.registry
        )
        self.loop_lag_s = Histogram(
            "mgr_loop_lag_seconds",
            "How late the event loop's heartbeat was",
            buckets=LAG_BUCKETS_S,
            registry=self.registry,
        )
        self._mirror_age_s = Gauge(
            "mgr_mirror_age_seconds",
            "Seconds since the copy of the store was last known to be current",
            registry=self.registry,
        )
        self._module_up, self.module_restarts, self._notifications_dropped = _of_modules(
            self.registry
        )
        self._commands = Counter(
            "mgr_commands",
            "Commands by outcome: ok, returned_error, or the reason of the error",
            ["outcome"],
            registry=self.registry,
        )
        self._outcomes: dict[str, Counter] = {}
        self._commands_running, self._commands_queued = _of_commands(self.registry)
        self._command_s = Histogram(
            "mgr_command_seconds",
            "From a command's arrival to its answer, including the time in the queue",
            buckets=COMMAND_BUCKETS_S,
            registry=self.registry,
        )

        self._daemons, self._flagged, self._fleet_refused = _of_fleet(self.registry)

    def measure_mirror(self, age_s: Callable[[], float]) -> None:
        """Use ``age_s`` as the source of the mirror's age, called whenever metrics are read."""
        self._mirror_age_s.set_function(age_s)

    def measure_commands(self, dispatcher: CommandNumbers) -> None:
        """Use ``dispatcher`` as the source of the numbers of commands."""
        self._commands_running.set_function(lambda: dispatcher.running)
        self._commands_queued.set_function(lambda: dispatcher.queued)

    def set_role(self, role: str) -> None:
        """Set the role of this manager, one of ``ROLES``."""
        self._role.state(role)

    def count_command(self, outcome: str, seconds: float) -> None:
        """Count one command and how long it took."""
        counter = self._outcomes.get(outcome)
        if counter is None:
            # Looking a label up takes longer than counting; there are few outcomes.
            counter = self._outcomes[outcome] = self._commands.labels(outcome)
        counter.inc()
        self._command_s.observe(seconds)

    def set_daemons(self, state: str, count: int) -> None:
        """Set how many daemons are in ``state``."""
        self._daemons.labels(state).set(count)

    def set_flagged(self, reason: str, count: int) -> None:
        """Set how many daemons are flagged for ``reason``: ``clock_off``, ``duplicate_name``."""
        self._flagged.labels(reason).set(count)

    def count_refused(self, rule: str) -> None:
        """Count a daemon's stream that was ended because it broke ``rule``."""
        self._fleet_refused.labels(rule).inc()

    def set_module_up(self, module: str, *, up: bool) -> None:
        """Set whether ``module`` accepts commands."""
        self._module_up.labels(module).set(1 if up else 0)
        # From 0 on: Prometheus sees no increase in a counter that appears with a value.
        self.module_restarts.labels(module)

    def measure_dropped(self, module: str, dropped: Callable[[], int]) -> None:
        """Use ``dropped`` as the number of notifications that ``module`` did not get."""
        self._notifications_dropped.labels(module).set_function(dropped)

    def forget_module(self, module: str) -> None:
        """Remove the metrics of a ``module`` that was disabled."""
        self._module_up.remove(module)
        self._notifications_dropped.remove(module)


class LeadershipMetrics:
    """What this manager sees of leadership, whoever leads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create all metrics, with the value 0."""
        self.term = Gauge(
            "mgr_leader_term",
            "Term of the manager that leads, as this manager sees it; 0 while none does",
            registry=registry,
        )
        self.changes = Counter(
            "mgr_leader_changes",
            "New leaders that this manager saw since it started; the first one does not count",
            registry=registry,
        )
        self.unled_s = Histogram(
            "mgr_unled_seconds",
            "How long this manager saw no leader, at each change",
            buckets=UNLED_BUCKETS_S,
            registry=registry,
        )
        self.standbys = Gauge(
            "mgr_standbys",
            "Managers beside the leader; ready: they can take over at once",
            ["state"],
            registry=registry,
        )


class EtcdMetrics:
    """Requests of this worker to etcd, and the state of etcd."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create all metrics, with the value 0."""
        self._seconds = Histogram(
            "mgr_etcd_request_seconds",
            "From a request to etcd to its answer, with all attempts, by the method of etcd",
            ["operation"],
            buckets=ETCD_BUCKETS_S,
            registry=registry,
        )
        self._failures = Counter(
            "mgr_etcd_request_failures",
            "Requests to etcd without a usable answer, by the method of etcd and the error",
            ["operation", "reason"],
            registry=registry,
        )
        self.database_bytes = Gauge(
            "mgr_etcd_database_bytes",
            "Used bytes of etcd's database, as last reported, with what was written since",
            registry=registry,
        )
        self.quota_bytes = Gauge(
            "mgr_etcd_quota_bytes",
            "Etcd's space quota; at 80 % records of clients may not grow",
            registry=registry,
        )
        self.silent_endpoints = Gauge(
            "mgr_etcd_endpoints_silent",
            "Addresses of etcd without an answer for a minute",
            registry=registry,
        )
        self._operations: dict[str, Histogram] = {}

    def observe(self, operation: str, seconds: float, reason: str = "") -> None:
        """Count one request; ``reason`` is that of the error, empty if it was answered."""
        if reason:
            self._failures.labels(operation, reason).inc()
            return
        found = self._operations.get(operation)
        if found is None:
            # Looking a label up takes longer than counting.
            found = self._operations[operation] = self._seconds.labels(operation)
            # From 0 on: Prometheus sees no increase in a counter that appears with a value.
            for failure in ALERTED_FAILURES:
                self._failures.labels(operation, failure)
        found.observe(seconds)


def _of_fleet(registry: CollectorRegistry) -> tuple[Gauge, Gauge, Counter]:
    daemons = Gauge("mgr_daemons", "Daemons of the fleet by state", ["state"], registry=registry)
    flagged = Gauge(
        "mgr_daemons_flagged",
        "Daemons with a wrong clock, or with a name that two programs used",
        ["reason"],
        registry=registry,
    )
    refused = Counter(
        "mgr_fleet_refused",
        "Streams of daemons that were ended, by the rule that the daemon broke",
        ["reason"],
        registry=registry,
    )
    return daemons, flagged, refused


def _of_commands(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    running = Gauge(
        "mgr_commands_running", "Commands that run now; 0 on a standby", registry=registry
    )
    queued = Gauge(
        "mgr_commands_queued",
        "Commands that wait for the term or for the start of their module",
        registry=registry,
    )
    return running, queued


def _of_modules(registry: CollectorRegistry) -> tuple[Gauge, Counter, Gauge]:
    up = Gauge("mgr_module_up", "1 while the module takes commands", ["module"], registry=registry)
    restarts = Counter(
        "mgr_module_restarts",
        "How often the module was restarted after a failure",
        ["module"],
        registry=registry,
    )
    dropped = Gauge(
        "mgr_module_notifications_dropped",
        "Notifications dropped because the module did not keep up",
        ["module"],
        registry=registry,
    )
    return up, restarts, dropped
