"""What is known of limits that clients reached."""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry

from mgr.client_limits import SHOWN_S, ClientLimits
from mgr.log_throttle import LOG_EVERY_S


class Now:
    s = 0.0


def test_a_flood_of_refusals_is_a_few_lines(caplog):
    """The first line at once; later ones tell how many refusals they stand for."""
    now, registry = Now(), CollectorRegistry()
    limits = ClientLimits(lambda: now.s, registry)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            limits.reached("streams", "10.0.0.1")
        now.s += LOG_EVERY_S
        limits.reached("streams", "10.0.0.2")

    logged = [(each.limit, each.caller, each.times) for each in caplog.records]
    assert logged == [("streams", "10.0.0.1", 1), ("streams", "10.0.0.2", 1000)]
    labels = {"limit": "streams"}
    assert registry.get_sample_value("mgr_client_limit_reached_total", labels) == 1001


def test_a_limit_is_recent_for_some_minutes():
    """Health then forgets it; the counter does not."""
    now = Now()
    limits = ClientLimits(lambda: now.s)
    limits.reached("streams", "a\nb" * 100)

    recent = limits.recent()["streams"]
    assert (recent.count, len(recent.caller) < 120, "\n" in recent.caller) == (1, True, False)
    now.s = SHOWN_S + 1
    assert not limits.recent()
