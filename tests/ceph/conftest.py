"""A real Ceph for the tests of this folder. They are skipped, loudly, where none can be had."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.ceph import RELEASE, USER, Ceph, NoCephPackagesError, fetch_programs
from tests.support.cluster import Cluster, until_answered

HERE = Path(__file__).parent
PATIENCE_S = 400
MODULES = Path(__file__).parents[1] / "support/ceph_modules"


def pytest_collection_modifyitems(items):
    """Mark every test of this folder: they start processes."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def programs():
    """The distribution's packages, unpacked."""
    try:
        return fetch_programs()
    except NoCephPackagesError as error:
        pytest.skip(f"NO CEPH {RELEASE} TESTED: {error}")


@pytest.fixture(scope="session")
def ceph(programs, tmp_path_factory):
    """One small cluster for all tests; a test that breaks it repairs it."""
    with Ceph(tmp_path_factory.mktemp("ceph"), programs) as cluster:
        yield cluster


class PatientCluster(Cluster):
    """Asks again while nobody answers: real Cephs leave little of a small machine."""

    ceph: Ceph

    def stop(self):
        """As ``Cluster.stop``; whoever comes next does not wait for what was open in a file system.

        Managers of the same cluster would have it refused; those of another one do not know of it.
        """
        super().stop()
        # Captured, and shown by pytest for a failed test only.
        sys.stderr.write(self.logs())
        self.ceph.forget_clients()

    def run(self, *words, timeout_s=10, **arguments):
        """As ``Cluster.run``."""
        once = partial(super().run, *words, timeout_s=timeout_s, **arguments)
        return until_answered(once, PATIENCE_S)


@pytest.fixture(scope="session")
def beside(programs, etcd, tmp_path_factory):
    """Make managers that know a cluster; the caller enters them."""

    def made(ceph, *, names=("a", "b"), folders=(), **settings):
        path = ",".join(map(str, [*folders, MODULES, programs.python_packages]))
        found = PatientCluster(
            tmp_path_factory.mktemp("managers"),
            etcd.endpoints,
            names=names,
            environments=dict.fromkeys(names, programs.environment),
            **{
                "module_path": path,
                "ceph_conf": ceph.conf,
                "ceph_name": USER,
                "ceph_keyring": ceph.keyring,
                "module_load_s": 60,
                # On a busy machine; a worker that was killed is noticed at once in any case.
                "watchdog_s": 60,
                "profile": "off",
                "lease_ttl_s": 60,
                **settings,
            },
        )
        found.ceph = ceph
        return found

    return made


@pytest.fixture(scope="session")
def start(beside, ceph):
    """The same beside the cluster that most tests share."""
    return partial(beside, ceph)
