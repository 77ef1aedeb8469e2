"""How long a heartbeat may be relied on, and how the window follows what is observed."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from msgspec import Meta

from mgr.election.heartbeat import (
    MARGIN_S,
    PROFILES,
    AdaptiveHeartbeat,
    HeartbeatProfile,
    safe_takeover_s,
)
from mgr.election.timing import CLOCK_RATE_ERROR
from mgr.errors import InvalidSettingError
from mgr.settings import Settings

DEFAULT = PROFILES["default"]
CEILING_S = 5.0


class Beats:
    """A heartbeat, and the heartbeats that succeed in it."""

    def __init__(self, profile=DEFAULT):
        self.heartbeat = AdaptiveHeartbeat(profile, CEILING_S)
        self.now_s = 100.0
        self.deadline_s = 0.0

    def beat(self, count, *, every_s, latency_s=0.002):
        """``count`` heartbeats; whatever the heartbeat wants to be written is written."""
        for _ in range(count):
            self.now_s += every_s
            self.heartbeat.on_success(self.now_s, self.now_s + latency_s)
            self.deadline_s = max(self.deadline_s, self.heartbeat.deadline_s(self.now_s))
            timeout_s = self.heartbeat.timeout_to_write(self.deadline_s)
            if timeout_s is not None:
                self.heartbeat.on_timeout_written(timeout_s)
        return self.heartbeat.timeout_s


@pytest.fixture
def beats():
    return Beats()


def test_every_profile_that_can_be_set_has_its_heartbeat():
    """And none is left over."""
    hint = get_type_hints(Settings, include_extras=True)["profile"]
    [pattern] = [meta.pattern for meta in get_args(hint)[1:] if isinstance(meta, Meta)]

    assert pattern == f"^({'|'.join(PROFILES)})$"


@pytest.mark.parametrize("profile", [each for each in PROFILES.values() if each])
def test_an_active_stops_before_a_standby_may_depose_it(profile):
    """Counted from the sending on the slowest clock, against the observing on the quickest."""
    heartbeat = AdaptiveHeartbeat(profile, CEILING_S)

    stops_s = (heartbeat.deadline_s(0.0) + MARGIN_S) * (1 + CLOCK_RATE_ERROR)
    deposed_s = safe_takeover_s(profile.timeout_s) * (1 - CLOCK_RATE_ERROR)

    assert stops_s <= deposed_s + 1e-9
    assert heartbeat.deadline_s(0.0) == pytest.approx(profile.timeout_s * 0.99 - 0.05)


@pytest.mark.parametrize(("every_s", "timeout_s"), [(0.0, 1.0), (0.25, 0.75), (1.0, 3.0)])
def test_a_window_that_two_lost_heartbeats_would_use_up_is_refused(every_s, timeout_s):
    """A healthy active would be suspended again and again."""
    with pytest.raises(InvalidSettingError, match="do not fit"):
        HeartbeatProfile(every_s=every_s, timeout_s=timeout_s)


def test_a_steady_heartbeat_changes_nothing(beats):
    """No writing beside the heartbeat itself."""
    assert beats.beat(500, every_s=0.25) == 1.5


def test_one_late_heartbeat_changes_nothing(beats):
    """Out of a hundred."""
    beats.beat(100, every_s=0.25)
    beats.beat(1, every_s=1.4)

    assert beats.beat(50, every_s=0.25) == 1.5


def test_growing_gaps_make_the_window_longer_and_calm_makes_it_short_again(beats):
    """Four gaps fit, and a little more, so that it is not rewritten all the time."""
    assert beats.beat(10, every_s=0.6) == pytest.approx(0.6 * 4 * 1.25)
    assert beats.beat(10, every_s=0.7) == pytest.approx(0.6 * 4 * 1.25)
    assert beats.beat(200, every_s=0.25) == 1.5


def test_the_window_has_a_ceiling(beats):
    """Beyond it the lease decides."""
    assert beats.beat(10, every_s=4.0) == CEILING_S


def test_a_longer_window_is_used_only_once_it_is_written(beats):
    """Until then standbys count the old one."""
    beats.beat(1, every_s=0.25)
    for _ in range(5):
        beats.now_s += 1.2
        beats.heartbeat.on_success(beats.now_s, beats.now_s)

    wanted_s = beats.heartbeat.timeout_to_write(beats.now_s)

    assert wanted_s == CEILING_S
    assert beats.heartbeat.deadline_s(0.0) <= 1.5 * 0.99 - 0.05
    beats.heartbeat.on_timeout_written(wanted_s)
    assert beats.heartbeat.deadline_s(0.0) > 4


def test_a_shorter_window_is_written_only_when_no_deadline_of_the_longer_is_left(beats):
    """Standbys will count it from a heartbeat that was sent in the days of the longer."""
    long_s = beats.beat(10, every_s=0.8)
    reported_s = beats.deadline_s
    while beats.heartbeat.timeout_s == long_s:
        beats.beat(1, every_s=0.25)

    assert beats.now_s + beats.heartbeat.timeout_s > reported_s
    assert beats.heartbeat.deadline_s(beats.now_s) >= reported_s


def test_a_rewriting_of_unknown_outcome_leaves_the_shorter_of_both_in_use(beats):
    """And is tried again, even if nothing needs it any more."""
    beats.beat(1, every_s=0.25)
    for _ in range(5):
        beats.now_s += 1.0
        beats.heartbeat.on_success(beats.now_s, beats.now_s)

    assert beats.heartbeat.timeout_to_write(beats.now_s) == CEILING_S
    assert beats.heartbeat.timeout_s == 1.5
    assert beats.heartbeat.timeout_to_write(beats.now_s) == CEILING_S


def test_a_slow_store_widens_the_margin_within_limits(beats):
    """Three latencies; never more than half of the window."""
    beats.beat(5, every_s=0.25, latency_s=0.1)
    assert beats.heartbeat.margin_s == pytest.approx(0.3)

    beats.beat(5, every_s=0.25, latency_s=0.5)
    assert beats.heartbeat.margin_s == 0.75
