"""Modules of Ceph 16.2 at work on three managers, and after the active is killed."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.support.cluster import Cluster, wait_for

AT_WORK = (
    "crash", "influx", "insights", "iostat", "orchestrator", "progress", "selftest", "status",
    "telemetry", "test_orchestrator",
)  # fmt: skip
ASKED = (
    "crash ls", "iostat", "fs status", "osd status", "progress json", "orch host ls", "insights",
    "mgr self-test python-version",
)  # fmt: skip


@pytest.fixture(scope="module")
def running(pacific, etcd, tmp_path_factory):
    """Three managers that find these modules only; all are enabled."""
    folder = tmp_path_factory.mktemp("modules")
    for name in AT_WORK:
        (folder / name).symlink_to(pacific.modules / name)
    path = f"{folder},{pacific.module_path.split(',')[1]}"
    directory = tmp_path_factory.mktemp("managers")
    with Cluster(directory, etcd.endpoints, module_path=path, bundled_skip="all") as cluster:
        cluster.settled(60)
        cluster.enable(*AT_WORK)
        assert cluster.run("orch", "set", "backend", "test_orchestrator").retval == 0
        yield cluster


@pytest.mark.parametrize(
    "command",
    [
        "mgr self-test run",
        "mgr self-test config get testkey",
        "mgr self-test config get_localized testkey",
        "mgr self-test remote",
        "mgr self-test cluster-log audit info hello",
        "mgr self-test background start command_spam",
        "mgr self-test background stop",
    ],
)
def test_the_selftest_of_the_package_passes(running, command):
    """Its own assertions about options, store, maps, counters, calls between modules."""
    answer = running.run(*command.split(), timeout_s=30)

    assert answer.retval == 0, answer


def test_a_health_check_that_selftest_sets_is_seen_until_it_is_cleared(running):
    """Through ``set_health_checks``, with a count and details."""
    check = {"severity": "warning", "summary": "so", "detail": ["it is"]}

    told = running.run("mgr", "self-test", "health", "set", json.dumps({"TRIED": check}))
    assert told.retval == 0
    assert "TRIED" in running.run("health", "detail").text
    assert running.run("mgr", "self-test", "health", "clear", "TRIED").retval == 0
    assert "TRIED" not in running.run("health", "detail").text


def test_each_module_answers_before_and_after_the_active_is_killed(running):
    """Another manager runs them; the chosen backend of the orchestrator is remembered."""
    for command in ASKED:
        assert running.run(*command.split(), timeout_s=30).retval == 0, command
    killed = running.active()

    os.kill(killed.worker_pid, signal.SIGKILL)

    wait_for(lambda: running.active().name != killed.name, "another active")
    for command in ASKED:
        answer = running.run(*command.split(), timeout_s=30)
        assert answer.retval == 0, (command, answer)
