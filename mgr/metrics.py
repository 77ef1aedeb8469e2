"""The Prometheus metrics of a worker. Each worker has its own registry; there is no global one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram

ROLES: Final = ("joining", "standby", "starting", "active", "suspended", "draining")
COMMAND_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5)


class Metrics:
    """Every metric, with the name that it has at ``/metrics``."""

    def __init__(self) -> None:
        """Create all metrics, with the value 0."""
        self.registry = CollectorRegistry()
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
        self._module_up = Gauge(
            "mgr_module_up",
            "1 while the module takes commands",
            ["module"],
            registry=self.registry,
        )
        self.module_restarts = Counter(
            "mgr_module_restarts",
            "How often the module was restarted after a failure",
            ["module"],
            registry=self.registry,
        )
        self.notifications_dropped = Gauge(
            "mgr_module_notifications_dropped",
            "Notifications dropped because the module did not keep up",
            ["module"],
            registry=self.registry,
        )
        self._commands = Counter(
            "mgr_commands",
            "Commands by outcome: ok, returned_error, or the reason of the error",
            ["outcome"],
            registry=self.registry,
        )
        self._outcomes: dict[str, Counter] = {}
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

    def forget_module(self, module: str) -> None:
        """Remove the metric of a ``module`` that was disabled."""
        self._module_up.remove(module)


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
