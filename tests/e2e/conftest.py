"""Real processes on a real etcd. Everything started here is gone when its test ends."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from tests.support.cluster import Cluster

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Whatever stands in this folder starts processes."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def start(etcd, tmp_path):
    """Start a cluster with these settings; ended with the test, its logs shown if that failed."""
    with contextlib.ExitStack() as running:

        def started(**settings):
            cluster = running.enter_context(Cluster(tmp_path, etcd.endpoints, **settings))
            # Captured, and shown by pytest for a failed test only.
            running.callback(lambda: sys.stderr.write(cluster.logs()))
            return cluster

        yield started


@pytest.fixture
def cluster(start):
    """Three managers: one active, two warm standbys."""
    running = start()
    running.settled()
    return running
