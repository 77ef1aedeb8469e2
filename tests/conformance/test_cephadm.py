"""Unmodified cephadm of Ceph 20.2: it answers as the orchestrator, and the next manager goes on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.conformance.survey import IMPORTS_S, UNHURRIED
from tests.support.cluster import Cluster, wait_for


@pytest.fixture(scope="module")
def running(with_cephadm, settings_for, etcd, tmp_path_factory):
    """Two managers with cephadm and what it is reached through; cephadm is the backend."""
    settings = settings_for(with_cephadm, "cephadm", "orchestrator") | UNHURRIED
    directory = tmp_path_factory.mktemp("managers")
    with Cluster(directory, etcd.endpoints, names=("a", "b"), **settings) as cluster:
        cluster.settled(IMPORTS_S)
        path = str(with_cephadm.program)
        assert cluster.run("config", "set", "mgr", "cephadm_path", path).retval == 0
        cluster.enable("orchestrator", "cephadm")
        # The orchestrator asks cephadm, which is constructed at its own pace.
        wait_for(lambda: backend_is_set(cluster), "cephadm as the backend", IMPORTS_S)
        yield cluster


def backend_is_set(cluster):
    return cluster.run("orch", "set", "backend", "cephadm", timeout_s=30).retval == 0


def answer(running, *words):
    found = running.run(*words, timeout_s=30)
    assert found.retval == 0, (words, found)
    return found.text


def test_it_answers_through_the_orchestrator(running):
    """There is no host, so there is no service; it says so in its own words."""
    assert "Backend: cephadm" in answer(running, "orch", "status")
    assert "No services reported" in answer(running, "orch", "ls")
    assert "0 hosts in cluster" in answer(running, "orch", "host", "ls")


def test_the_key_that_it_made_is_the_next_managers(running):
    """What it stored is there after a kill, and it is the backend still."""
    answer(running, "cephadm", "generate-key")
    key = answer(running, "cephadm", "get-pub-key")
    assert key.startswith("ssh-")
    killed = running.active()

    os.kill(killed.worker_pid, signal.SIGKILL)

    wait_for(lambda: running.active().name != killed.name, "another active")
    assert answer(running, "cephadm", "get-pub-key") == key
    assert "Backend: cephadm" in answer(running, "orch", "status")
