"""``mgr.version``: which release this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from mgr.module_api.ceph.release import version_line
from mgr.version import installed_version


@pytest.fixture
def nothing_installed(monkeypatch):
    """A tree that somebody runs without installing it."""

    def version_of(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version_of)
    installed_version.cache_clear()
    yield
    installed_version.cache_clear()


def test_it_is_that_of_the_installed_distribution():
    assert installed_version() == version("mgrd")


def test_where_nothing_is_installed_it_is_0(nothing_installed):
    """Everything that says a version still says one."""
    assert installed_version() == "0"
    assert version_line().startswith("mgr version 0 (")


def test_modules_are_reported_it_in_cephs_form():
    assert version_line().startswith(f"mgr version {installed_version()} (ceph-mgr interface) ")
    assert version_line("7.1").startswith("mgr version 7.1 (")
