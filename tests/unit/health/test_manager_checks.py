"""The manager's own checks, in Ceph's words."""

from __future__ import annotations

from mgr.active.health.manager_checks import (
    ModuleState,
    abandoned_checks,
    endpoint_checks,
    module_checks,
    option_checks,
    standby_checks,
    store_checks,
)
from mgr.health.check import Severity


def test_well_modules_raise_nothing():
    """Nothing enabled is well, too."""
    assert module_checks([]) == []
    assert module_checks([ModuleState("hello")]) == []


def test_one_failed_module_is_named_in_the_summary():
    """``MGR_MODULE_ERROR``, an error."""
    [found] = module_checks([ModuleState("hello", error="boom"), ModuleState("status")])

    assert (found.code, found.severity, found.count) == ("MGR_MODULE_ERROR", Severity.ERR, 1)
    assert found.summary == "Module 'hello' has failed: boom"
    assert found.detail == (found.summary,)


def test_several_failures_are_counted():
    """One line of detail each, by name."""
    [found] = module_checks([ModuleState("b", error="2"), ModuleState("a", error="1")])

    assert found.summary == "2 mgr modules have failed"
    assert found.detail == ("Module 'a' has failed: 1", "Module 'b' has failed: 2")


def test_instances_that_did_not_stop_are_named_with_the_remedy():
    """``MGR_MODULE_ABANDONED``, a warning; none where all have ended."""
    assert abandoned_checks([], []) == []
    [one] = abandoned_checks(["an instance of module 'a' did not stop at 12:00"], [])
    [two] = abandoned_checks(["first"], ["a thread of module 'b' runs on"])

    assert (one.code, one.severity) == ("MGR_MODULE_ABANDONED", Severity.WARN)
    assert one.summary.startswith("an instance of module 'a' did not stop at 12:00, and may still")
    assert "`mgrctl mgr fail`" in one.summary
    assert (two.count, two.summary[:14]) == (2, "2 modules left")


def test_a_module_that_cannot_run_is_a_warning_and_only_that():
    """What follows from it is not reported a second time."""
    [found] = module_checks([ModuleState("hello", cannot_run="no numpy", error="not loaded")])

    assert (found.code, found.severity) == ("MGR_MODULE_DEPENDENCY", Severity.WARN)
    assert found.summary == "Module 'hello' has failed dependency: no numpy"

    [found] = module_checks([ModuleState(name, cannot_run="x") for name in "ab"])
    assert found.summary == "2 mgr modules have failed dependencies"


def test_a_manager_alone_is_a_warning():
    """No standby could take over."""
    assert standby_checks("a", 1) == []
    [found] = standby_checks("a", 0)
    assert (found.code, found.summary) == ("MGR_NO_STANDBY", "no standby mgr")


def test_options_that_do_not_fit_are_counted():
    """One is told in the summary; each has a line of detail."""
    first, second = ("mgr a = 'x'", "no number"), ("mgr b = '9'", "too large")

    assert option_checks([]) == []
    assert option_checks([first])[0].summary == "Stored option does not fit: mgr a = 'x': no number"
    [found] = option_checks([first, second])
    assert (found.code, found.severity, found.count) == ("MGR_OPTION_ERROR", Severity.WARN, 2)
    assert found.detail == ("mgr a = 'x': no number", "mgr b = '9': too large")


def test_a_silent_store_is_a_warning():
    """The same one for as long as it lasts."""
    assert store_checks(silent=False, foreign={}) == []
    assert store_checks(silent=True, foreign={}) == store_checks(silent=True, foreign={})
    assert store_checks(silent=True, foreign={})[0].code == "MGR_STORE_SILENT"


def test_an_endpoint_of_another_etcd_cluster_is_a_warning():
    """It names each endpoint and the cluster that it belongs to."""
    [found] = store_checks(silent=False, foreign={"b:1": 0xAB, "a:1": 0xCD})

    assert (found.code, found.severity, found.count) == ("MGR_ETCD_FOREIGN", Severity.WARN, 2)
    assert found.detail[0] == "etcd at a:1 belongs to another cluster, cd, and is not used"


def test_a_silent_member_of_etcd_is_a_warning():
    """Named by its address, while the cluster as a whole still answers."""
    assert endpoint_checks(()) == []
    [one] = endpoint_checks(("c:1",))
    [two] = endpoint_checks(("b:1", "c:1"))

    assert (one.code, one.severity) == ("MGR_ETCD_ENDPOINT_DOWN", Severity.WARN)
    assert one.summary == "etcd endpoint c:1 does not answer"
    assert two.count == len(two.detail) == 2
