"""Modules of Ceph 20.2, with databases of their own, through a kill of the active."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.request

import pytest

from mgr.client import Daemon, Device
from tests.conformance.survey import IMPORTS_S
from tests.support import process
from tests.support.cluster import Cluster, wait_for

AT_WORK = (
    "crash", "devicehealth", "feeder", "insights", "orchestrator", "progress", "prometheus",
    "selftest", "status", "test_orchestrator",
)  # fmt: skip
ASKED = (
    "crash stat", "device check-health", "insights", "orch status", "fs status", "progress json",
    "healthcheck history ls", "mgr self-test config get testkey",
)  # fmt: skip
DEVICE = "Maker_Model_Serial1"
"""A disk of a daemon that reports: devicehealth keeps metrics of known devices only."""


@pytest.fixture(scope="module")
def ports():
    """Where the prometheus module of each manager serves."""
    return {name: process.free_port() for name in ("a", "b")}


@pytest.fixture(scope="module")
def running(tentacle, settings_for, etcd, tmp_path_factory, ports):
    """Two managers that find these modules only; all are enabled."""
    settings = settings_for(tentacle, *(name for name in AT_WORK if name != "feeder"))
    directory = tmp_path_factory.mktemp("managers")
    with Cluster(directory, etcd.endpoints, names=tuple(ports), **settings) as cluster:
        cluster.settled(IMPORTS_S)
        options = {
            "prometheus/server_addr": "127.0.0.1",
            **{f"prometheus/{name}/server_port": port for name, port in ports.items()},
        }
        for name, value in options.items():
            assert cluster.run("config", "set", "mgr", f"mgr/{name}", str(value)).retval == 0
        cluster.enable(*AT_WORK)
        # One module may be there before the other that it calls.
        chosen = ("orch", "set", "backend", "test_orchestrator")
        wait_for(lambda: cluster.run(*chosen).retval == 0, "the back end of orchestrator", 60)
        yield cluster


@pytest.fixture(scope="module")
def disk(running):
    """A daemon that has the disk, and reports for as long as the tests run."""
    with Daemon("host", "one", running.hosts) as daemon:
        daemon.devices([Device(DEVICE, name="sda")])
        wait_for(lambda: DEVICE in running.run("device", "ls").text, "the device", 30)
        yield daemon


def page(port, path="/metrics"):
    """What is served there; empty as long as nothing is."""
    at = f"http://127.0.0.1:{port}{path}"
    with contextlib.suppress(OSError), urllib.request.urlopen(at, timeout=5) as answer:
        return answer.read().decode()
    return ""


def metrics_of(running):
    """What devicehealth has in its database, by time; nothing before the device is known."""
    answer = running.run("device", "get-health-metrics", DEVICE)
    return json.loads(answer.text) if answer.retval == 0 else {}


def works(running, ports):
    """Each module answers, and the exporter of the active is read."""
    for command in ASKED:
        answer = running.run(*command.split(), timeout_s=30)
        assert answer.retval == 0, (command, answer)
    port = ports[running.active().name]
    assert "ceph_health_status" in wait_for(lambda: page(port), "metrics", 30)


def test_a_standby_serves_and_names_the_active(running, ports):
    """With the CherryPy that all modules of one process share."""
    active = running.active().name
    [standby] = set(ports) - {active}

    wait_for(lambda: str(ports[active]) in page(ports[standby], "/"), "the active's address", 30)


@pytest.mark.usefixtures("disk")
def test_the_database_and_all_else_survives_a_kill_of_the_active(running, ports):
    """What devicehealth had committed is there on the other manager, and more is added."""
    assert running.run("feed", "device", DEVICE, "first").retval == 0
    before = metrics_of(running)
    assert [each["model_name"] for each in before.values()] == ["first"]
    works(running, ports)
    killed = running.active()

    os.kill(killed.worker_pid, signal.SIGKILL)

    wait_for(lambda: running.active().name != killed.name, "another active")
    # The daemon comes back to the new active within moments, and with it the device.
    assert wait_for(lambda: metrics_of(running), "the metrics", 30) == before
    works(running, ports)

    def added():
        # A sample has a second of its own.
        assert running.run("feed", "device", DEVICE, "second").retval == 0
        return len(metrics_of(running)) > 1

    wait_for(added, "a second sample")
    assert "MGR_MODULE_ERROR" not in running.run("health", "detail").text
