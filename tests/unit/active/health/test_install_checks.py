"""Health names the managers that lack an installed module."""

from __future__ import annotations

from mgr.active.health.install_checks import GRACE_S, SILENT, InstallWatch, install_checks
from mgr.config.installed_modules import InstalledModule, PackageVersion
from mgr.link import ModuleReport

RECORD = InstalledModule(current=PackageVersion(digest="a" * 64, size=1, at="now"))
INSTALLED = {"greeter": RECORD}


def report(**fields):
    return [ModuleReport(name="greeter", can_run=True, **fields)]


def test_a_manager_with_a_reason_is_named_at_once():
    """And no more once it has the module."""
    watch = InstallWatch()

    missing = watch.missing(INSTALLED, {"b": report(outdated="no space")}, 0)
    [check] = install_checks(missing)

    assert check.code == "MGR_MODULE_INSTALL_INCOMPLETE"
    assert check.summary == f"mgr.b does not have module 'greeter' sha256:{'a' * 12}: no space"
    assert install_checks(watch.missing(INSTALLED, {"b": report(package="a" * 64)}, 1)) == []


def test_a_manager_that_says_nothing_is_given_time():
    """From when it was first seen without this version."""
    watch, reports = InstallWatch(), {"b": [], "c": report()}

    assert watch.missing(INSTALLED, reports, 0) == ()
    assert watch.missing(INSTALLED, reports, GRACE_S - 1) == ()
    missing = watch.missing(INSTALLED, reports, GRACE_S)
    assert [(manager, why) for _, _, manager, why in missing] == [("b", SILENT), ("c", SILENT)]
    assert "2 installed modules are missing" in install_checks(missing)[0].summary
    watch.missing(INSTALLED, {"b": report(package="a" * 64)}, GRACE_S + 1)
    assert watch.missing(INSTALLED, reports, GRACE_S + 2) == ()
