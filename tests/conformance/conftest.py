"""Runs Ceph's packaged modules on real managers. Skips generations that cannot be downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.conformance.packages import PROGRAM, NoPackagesError, fetch_packages
from tests.conformance.survey import relaxed_settings

HERE = Path(__file__).parent
THEIRS = ("cherrypy", "prettytable", "influxdb", "aiosmtpd", "asyncssh", "jinja2")


def pytest_collection_modifyitems(items):
    """Mark every test of this folder: they start processes and wait for slow imports."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def pacific():
    """The oldest generation: most tests use it."""
    return packages_or_skip("16.2")


@pytest.fixture(scope="session")
def tentacle():
    """The newest generation: its modules have databases and their own command registries."""
    return packages_or_skip("20.2")


@pytest.fixture(scope="session")
def with_cephadm():
    """The newest generation with cephadm: the module, and the program whose file it reads."""
    return packages_or_skip("20.2", "ceph-mgr-cephadm", PROGRAM)


@pytest.fixture(scope="session")
def settings_for(tmp_path_factory):
    """Make settings for a manager with some modules of a generation, and none of ours."""

    def made(packages, *names):
        folder = tmp_path_factory.mktemp("modules")
        for name in names:
            (folder / name).symlink_to(packages.modules / name)
        (folder / "feeder").symlink_to(HERE / "feeder")
        return relaxed_settings(f"{folder},{packages.library}")

    return made


def packages_or_skip(release, *further):
    """Return the generation, or skip with the reason why it cannot be downloaded."""
    if absent := [name for name in THEIRS if importlib.util.find_spec(name) is None]:
        pytest.skip(f"NO CONFORMANCE TESTED: extra 'conformance' not installed: {absent}")
    try:
        return fetch_packages(release, *further)
    except NoPackagesError as error:
        pytest.skip(f"NO CONFORMANCE TESTED WITH CEPH {release}: {error}")
