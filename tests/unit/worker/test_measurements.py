"""Changes of the leader are counted as the mirror shows them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mgr.metrics import Metrics
from mgr.store.keys import Keys
from mgr.worker.measurements import LeaderCounter


class Mirror:
    """Holds the leader key, and tells of changes."""

    def __init__(self):
        self.term = 0
        self._callbacks = []

    def get(self, _key):
        return SimpleNamespace(create_revision=self.term) if self.term else None

    def subscribe(self, _key, callback):
        self._callbacks.append(callback)

    def set(self, term):
        self.term = term
        for callback in self._callbacks:
            callback([])


@pytest.fixture
def seen():
    """A counter, its mirror and its clock."""
    mirror, clock, metrics = Mirror(), SimpleNamespace(at=0.0), Metrics()
    clock.now = lambda: clock.at
    counter = LeaderCounter(metrics.leadership, mirror, Keys("c"), clock)

    def value(name):
        return metrics.registry.get_sample_value(name)

    return SimpleNamespace(mirror=mirror, clock=clock, counter=counter, value=value)


def test_the_first_leader_is_no_change(seen):
    """A manager that starts has seen nothing change."""
    seen.counter.follow()
    seen.mirror.set(5)
    seen.mirror.set(5)

    assert seen.value("mgr_leader_changes_total") == 0
    assert seen.value("mgr_unled_seconds_count") == 0


def test_a_successor_is_a_change_and_the_time_before_it_is_measured(seen):
    """Also where this manager is the successor: it sees its own key in the mirror."""
    seen.mirror.term = 5
    seen.counter.follow()
    seen.mirror.set(0)
    seen.clock.at = 0.2
    seen.mirror.set(0)
    seen.clock.at = 0.75
    seen.mirror.set(9)

    assert seen.value("mgr_leader_changes_total") == 1
    assert seen.value("mgr_unled_seconds_sum") == 0.75
    assert seen.value("mgr_unled_seconds_count") == 1


def test_a_successor_that_comes_with_the_same_event_was_never_missed(seen):
    """Etcd reports a key that was deleted and created again as one listing."""
    seen.mirror.term = 5
    seen.counter.follow()
    seen.mirror.set(9)

    assert seen.value("mgr_leader_changes_total") == 1
    assert seen.value("mgr_unled_seconds_sum") == 0


def test_an_older_leader_key_is_no_change(seen):
    """It comes from a backup that etcd was restored from."""
    seen.mirror.term = 9
    seen.counter.follow()
    seen.mirror.set(5)

    assert seen.value("mgr_leader_changes_total") == 0
