"""Connects the metrics of a worker with what they measure."""

from __future__ import annotations

from collections.abc import Callable

from mgr.clock import Clock
from mgr.host.module_usage import ModuleUsageCollector
from mgr.host.worker_context import WorkerContext
from mgr.metrics import LeadershipMetrics
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror


def measure(manager: WorkerContext) -> None:
    """Let every metric that is read at a scrape be read from ``manager``, and count leaders."""
    metrics = manager.metrics
    metrics.measure_mirror(manager.mirror.age_s)
    space, endpoints, etcd = manager.space, manager.endpoints, metrics.etcd
    if space is not None:
        etcd.database_bytes.set_function(lambda: space.used_bytes)
        etcd.quota_bytes.set_function(lambda: space.quota_bytes)
    etcd.silent_endpoints.set_function(lambda: len(endpoints.silent))
    for state, ready in (("ready", True), ("starting", False)):
        count = _standbys(manager, ready=ready)
        metrics.leadership.standbys.labels(state).set_function(count)
    metrics.leadership.term.set_function(lambda: _leader_term(manager))
    LeaderCounter(metrics.leadership, manager.mirror, manager.keys, manager.clock).follow()
    starter = manager.processes
    ModuleUsageCollector(metrics.registry, dict if starter is None else starter.pids)


class LeaderCounter:
    """Counts the changes of the leader, and measures for how long there was none."""

    def __init__(
        self, metrics: LeadershipMetrics, mirror: Mirror, keys: Keys, clock: Clock
    ) -> None:
        """Count in ``metrics`` what ``mirror`` shows."""
        self._metrics = metrics
        self._mirror = mirror
        self._key = keys.leader
        self._clock = clock
        self._term = 0
        self._gone_s: float | None = None

    def follow(self) -> None:
        """Count from now on."""
        self._mirror.subscribe(self._key, self._on_change)
        self._on_change()

    def _on_change(self, _changes: object = None) -> None:
        record = self._mirror.get(self._key)
        now_s = self._clock.now()
        if record is None:
            if self._term and self._gone_s is None:
                self._gone_s = now_s
        elif record.create_revision > self._term:
            if self._term:
                self._metrics.changes.inc()
                # Without a moment at which there was none, both came with one event.
                gone_s = now_s if self._gone_s is None else self._gone_s
                self._metrics.unled_s.observe(now_s - gone_s)
            self._term, self._gone_s = int(record.create_revision), None


def _standbys(manager: WorkerContext, *, ready: bool) -> Callable[[], int]:
    def count() -> int:
        leader = manager.view.leader()
        name = "" if leader is None else leader.name
        return sum(each.warm is ready for each in manager.view.presences() if each.name != name)

    return count


def _leader_term(manager: WorkerContext) -> int:
    leader = manager.view.leader()
    return 0 if leader is None else leader.term
