"""The manager's own checks, in Ceph's words."""

from __future__ import annotations

from mgr.health.check import Severity
from mgr.health.manager import ModuleState, module_checks, standby_checks


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


def test_a_module_that_cannot_run_is_a_warning_and_only_that():
    """What follows from it is not reported a second time."""
    [found] = module_checks([ModuleState("hello", cannot_run="no numpy", error="not loaded")])

    assert (found.code, found.severity) == ("MGR_MODULE_DEPENDENCY", Severity.WARN)
    assert found.summary == "Module 'hello' has failed dependency: no numpy"

    [found] = module_checks([ModuleState(name, cannot_run="x") for name in "ab"])
    assert found.summary == "2 mgr modules have failed dependencies"


def test_a_manager_alone_is_a_warning():
    """Nobody would follow it."""
    assert standby_checks("a", 1) == []
    [found] = standby_checks("a", 0)
    assert (found.code, found.summary) == ("MGR_NO_STANDBY", "no standby mgr")
