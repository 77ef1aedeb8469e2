"""Modules that nobody here wrote, on real managers. Skips by name where they cannot be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.conformance.packages import NoPackagesError, fetched

HERE = Path(__file__).parent
THEIRS = ("cherrypy", "prettytable", "influxdb", "aiosmtpd")


def pytest_collection_modifyitems(items):
    """Whatever stands in this folder starts processes; it takes as long as the imports take."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(150))


@pytest.fixture(scope="session")
def pacific():
    """The generation that is tried: the page shows the others, too."""
    return had("16.2")


def had(release):
    """That generation, or a skip that says what was tried."""
    if absent := [name for name in THEIRS if importlib.util.find_spec(name) is None]:
        pytest.skip(f"NO CONFORMANCE TESTED: extra 'conformance' not installed: {absent}")
    try:
        return fetched(release)
    except NoPackagesError as error:
        pytest.skip(f"NO CONFORMANCE TESTED WITH CEPH {release}: {error}")
