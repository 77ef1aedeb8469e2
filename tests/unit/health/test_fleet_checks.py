"""The health checks of the fleet."""

from mgr.active.health.fleet_checks import CLOCK, DETAILS_MAX, DUPLICATE, SILENT, fleet_checks
from mgr.cluster.daemon import Metric
from mgr.cluster.fleet_health import FleetHealth
from mgr.health.check import Severity


def test_all_is_well():
    """Nothing found, nothing raised."""
    assert fleet_checks(FleetHealth()) == []


def test_one_is_named_and_many_are_counted():
    """With a line of detail for each, up to a screenful."""
    [one] = fleet_checks(FleetHealth(silent={"rgw.a": "h1"}))
    [many] = fleet_checks(FleetHealth(silent={f"rgw.{n}": "h1" for n in range(1000)}))

    assert (one.code, one.severity, one.count) == (SILENT, Severity.WARN, 1)
    assert one.summary == "rgw.a has not reported within its grace period"
    assert one.detail == ("rgw.a on h1 is silent",)
    assert many.summary == "1000 daemons have not reported within their grace period"
    assert len(many.detail) == DETAILS_MAX + 1
    assert many.detail[-1] == f"and {1000 - DETAILS_MAX} more"


def test_names_and_clocks_are_shown():
    """Each under a code of its own."""
    found = fleet_checks(FleetHealth(duplicate_names=("rgw.a",), clocks={"rgw.b": -3600.2}))

    assert {check.code: check.detail for check in found} == {
        DUPLICATE: ("rgw.a was taken over from a program that was still connected",),
        CLOCK: ("the clock of rgw.b is -3600 s off",),
    }


def test_a_metric_is_summed_over_all_daemons():
    """Under its own name, in the words of the daemon that has most."""
    reports = [("osd.1", Metric("SLOW_OPS", 2, "")), ("osd.2", Metric("SLOW_OPS", 5, "slow ops"))]

    [check] = fleet_checks(FleetHealth(metrics={"SLOW_OPS": tuple(reports)}))

    assert (check.code, check.count) == ("SLOW_OPS", 7)
    assert check.summary == "7 slow ops, daemons [osd.1,osd.2]"
    assert check.detail == ("osd.1: 2 slow ops", "osd.2: 5 slow ops")
