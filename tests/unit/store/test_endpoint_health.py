"""A member of etcd that is gone for long is reported; one that restarts is not."""

from __future__ import annotations

from mgr.store.endpoint_health import BACK_AFTER_S, SILENT_AFTER_S, EndpointHealth

GOOD = {"a:1": True, "b:1": True, "c:1": True}
ONE_DEAD = GOOD | {"c:1": False}


def after(health, answers, from_s, seconds, every_s=10):
    """What each observation returned, and the time of the last."""
    times = range(from_s, from_s + seconds + 1, every_s)
    return [health.observe(answers, float(now_s)) for now_s in times], times[-1]


def test_a_member_that_is_gone_for_a_minute_is_reported_by_its_address():
    """Once, and not before."""
    health = EndpointHealth()
    health.observe(GOOD, 0.0)

    changes, now_s = after(health, ONE_DEAD, 10, int(SILENT_AFTER_S) + 20)

    assert health.silent == ("c:1",)
    assert changes.count(True) == 1
    assert changes.index(True) * 10 + 10 >= SILENT_AFTER_S

    changes, _ = after(health, GOOD, now_s + 10, int(BACK_AFTER_S) + 20)

    assert health.silent == ()
    assert changes.count(True) == 1


def test_a_member_that_was_never_seen_is_reported_as_well():
    """It may have been dead when this manager started."""
    health = EndpointHealth()

    after(health, ONE_DEAD, 0, int(SILENT_AFTER_S))

    assert health.silent == ("c:1",)


def test_a_restart_is_not_reported():
    """It takes less than a minute."""
    health = EndpointHealth()
    health.observe(GOOD, 0.0)
    changes, now_s = after(health, ONE_DEAD, 10, 40)
    changes += after(health, GOOD, now_s + 10, 100)[0]

    assert not any(changes)


def test_one_that_comes_and_goes_stays_reported():
    """The warning does not blink."""
    health = EndpointHealth()
    _, now_s = after(health, ONE_DEAD, 0, 100)
    changes = [
        health.observe(GOOD if number % 2 else ONE_DEAD, now_s + 10.0 * number)
        for number in range(1, 20)
    ]

    assert not any(changes)
    assert health.silent == ("c:1",)


def test_a_host_that_was_paused_reports_nobody():
    """It asked nothing for an hour, and the first question may fail."""
    health = EndpointHealth()
    health.observe(GOOD, 0.0)
    health.observe(ONE_DEAD, 3600.0)

    assert health.silent == ()


def test_one_that_was_not_asked_stays_as_it_was():
    """A foreign endpoint is asked more and more seldom."""
    health = EndpointHealth()
    health.observe(GOOD, 0.0)
    health.observe({"a:1": True}, 500.0)

    assert health.silent == ()
