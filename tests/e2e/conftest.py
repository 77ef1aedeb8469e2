"""Real processes on a real etcd. Everything started here is gone when its test ends."""

from __future__ import annotations

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
    clusters = []

    def started(**settings):
        cluster = Cluster(tmp_path, etcd.endpoints, **settings)
        clusters.append(cluster)
        return cluster.__enter__()

    failed = True
    try:
        yield started
        failed = False
    finally:
        for cluster in clusters:
            cluster.__exit__(RuntimeError if failed else None)


@pytest.fixture
def cluster(start):
    """Three managers: one active, two warm standbys."""
    running = start()
    running.settled()
    return running
