"""Managers beside a real Ceph: handles, commands, maps, failover, and a Ceph that is down."""

from __future__ import annotations

import errno
import json
import os
import signal

import pytest

from tests.support.cluster import wait_for

PROCESS, THREAD = "process", "thread"


def wait(probe, what):
    """Wait with patience: polls of Ceph take a tenth of the time, so a slow one is rare, too."""
    wait_for(probe, what, 400)


@pytest.fixture(scope="module", params=[PROCESS, THREAD])
def running(request, start):
    """Two managers whose modules run in processes of their own, or in threads."""
    with start() as cluster:
        cluster.settled(400)
        options = {"mgr_module_isolation": request.param, "mgr/ceph/poll_interval": "0.5"}
        for name, value in options.items():
            assert cluster.run("config", "set", "mgr", name, value).retval == 0
        cluster.enable("ceph", "keeper", "hello")
        reached(cluster)
        yield cluster


def reached(cluster):
    """Wait until the module ``ceph`` has reached the cluster."""

    def probe():
        answer = cluster.run("ceph", "status", format="json")
        return answer.retval == 0 and json.loads(answer.text)["reachable"]

    wait(probe, "the connection to Ceph")


def asked(cluster, *words, **more):
    """What a command of the module ``keeper`` answers; it must not fail."""
    answer = cluster.run("keeper", *words, timeout_s=40, **more)
    assert answer.retval == 0, answer
    return answer.text


def document(cluster, name):
    """A document as the module reads it."""
    return json.loads(asked(cluster, "get", name))


def test_what_the_active_wrote_the_next_one_reads(running):
    """An object and a file, with the active killed while the module holds both handles."""
    asked(running, "put", "files.data", "kept", "by a")
    asked(running, "file", "put", "/kept", "by a")
    killed = running.active()

    os.kill(killed.worker_pid, signal.SIGKILL)

    wait(lambda: running.active().name != killed.name, "another active")
    assert asked(running, "fetch", "files.data", "kept") == "by a"
    assert asked(running, "file", "fetch", "/kept") == "by a"
    asked(running, "put", "files.data", "kept", "by b")
    assert asked(running, "fetch", "files.data", "kept") == "by b"
    running.settled(400)
    reached(running)


def test_commands_to_monitors_are_the_monitors(running, ceph):
    """A pool that is made is in the next document; what they refuse is refused in their words."""
    made = {"prefix": "osd pool create", "pool": "made", "pg_num": 1}
    shown = json.loads(asked(running, "mon", json.dumps(made), "osd_map"))

    assert "made" in {pool["pool_name"] for pool in shown["pools"]}
    assert "made" in ceph.run("osd", "pool", "ls").split()
    refused = running.run(
        "keeper", "check", json.dumps({"prefix": "osd pool get", "pool": "never", "var": "size"})
    )
    assert "MonCommandFailed: osd pool get failed: unrecognized pool 'never'" in refused.stderr
    assert "retval: -2" in refused.stderr
    gone = {"pool": "made", "pool2": "made", "yes_i_really_really_mean_it": True}
    asked(running, "check", json.dumps({"prefix": "osd pool rm", **gone}))


def test_the_managers_own_words_stay_its_own(running, ceph):
    """An option that is set by a module is one of this manager, not of Ceph."""
    command = {"prefix": "config set", "who": "mgr", "name": "mgr/hello/place", "value": "Rome"}
    asked(running, "check", json.dumps(command))

    assert "Rome" in running.run("config", "get", "mgr", "mgr/hello/place").text
    assert "Rome" not in ceph.run("config", "dump")


@pytest.mark.parametrize(
    ("kind", "name", "prefix", "key"),
    [
        ("mon", "-", "quorum_status", "quorum"),
        ("osd", "0", "perf dump", "osd"),
        ("pg", "1.0", "query", "state"),
        ("mds", "a", "session ls", None),
    ],
)
def test_commands_reach_every_kind_of_daemon(running, kind, name, prefix, key):
    """With an answer of the daemon itself, and a notification with the tag."""
    command = json.dumps(
        {"prefix": prefix, "format": "json", **({"pgid": name} if kind == "pg" else {})}
    )
    answer = json.loads(asked(running, "send", kind, name, command, f"tag-{kind}"))

    assert isinstance(answer, list) if key is None else key in answer
    wait(lambda: f"command tag-{kind}" in asked(running, "noted"), "the notification")


def test_errors_of_daemons_arrive(running):
    """An errno and the daemon's text, or at least the former."""
    command = json.dumps({"prefix": "no such thing"})
    for kind, name, number in [("mon", "-", errno.EINVAL), ("osd", "0", errno.EINVAL),
                               ("mds", "never", errno.ENOENT)]:  # fmt: skip
        answer = running.run("keeper", "send", kind, name, command, "t", timeout_s=40)
        assert answer.retval == -number, (kind, answer)


def test_documents_are_those_of_the_cluster(running, ceph):
    """Each is what Ceph's own commands say, and modules are told of a new one."""
    assert document(running, "osd_map")["fsid"] == ceph.fsid
    assert document(running, "mon_map")["fsid"] == ceph.fsid
    tree = {node["name"] for node in document(running, "osd_map_tree")["nodes"]}
    assert {"osd.0", "default"} <= tree
    assert document(running, "osd_map_crush")["devices"][0]["name"] == "osd.0"
    [files] = document(running, "fs_map")["filesystems"]
    assert files["mdsmap"]["fs_name"] == "files"
    assert json.loads(document(running, "mon_status")["json"])["name"] == "a"
    assert {pool["name"] for pool in document(running, "df")["pools"]} >= {"files.data"}
    assert document(running, "df")["stats"]["total_bytes"] > 0
    assert set(document(running, "pg_summary")["all"]) == {"active+clean"}
    # The first is counted by the monitors, some seconds after the second one by Ceph's manager.
    pgs = len(document(running, "pg_stats")["pg_stats"])
    wait(lambda: document(running, "pg_status")["num_pgs"] == pgs, "the same number")
    assert document(running, "osd_metadata")["0"]["osd_objectstore"] == "memstore"
    assert json.loads(asked(running, "metadata", "osd", "0"))["hostname"]
    assert "a" in document(running, "mds_metadata")
    assert json.loads(asked(running, "metadata", "mon", "a"))["ceph_release"] == "pacific"

    before = json.loads(asked(running, "noted")).get("osd_map", 0)
    epoch = document(running, "osd_map")["epoch"]
    ceph.run("osd", "set", "noout")
    wait(lambda: document(running, "osd_map")["epoch"] > epoch, "the new map")
    assert "noout" in document(running, "osd_map")["flags"]
    wait(lambda: json.loads(asked(running, "noted"))["osd_map"] > before, "a notification")
    wait(lambda: "OSDMAP_FLAGS" in running.run("health", "detail").text, "Ceph's health")
    ceph.run("osd", "unset", "noout")
    wait(lambda: "OSDMAP_FLAGS" not in running.run("health", "detail").text, "health again")


def test_a_ceph_that_is_down_is_reported_and_holds_nobody_up(running, ceph):
    """Calls end by their limit; health, other modules and the manager go on; then all is well."""
    asked(running, "put", "files.data", "before", "it froze")
    active = running.active().name
    ceph.freeze()
    try:
        answer = running.run("keeper", "mon", '{"prefix": "osd dump"}', timeout_s=40)
        assert answer.retval == -errno.ETIMEDOUT, answer

        def warned():
            return "MGR_CEPH_UNREACHABLE" in running.run("health", "detail", timeout_s=10).text

        wait(warned, "the warning")
        assert running.run("hello", timeout_s=10).retval == 0
        assert running.run("status", timeout_s=10).retval == 0
        refused = running.run("keeper", "mon", '{"prefix": "osd dump"}', timeout_s=5)
        assert refused.retval == -errno.ETIMEDOUT
        assert "not reachable" in refused.stderr
        assert document(running, "osd_map")["fsid"] == ceph.fsid
        late = running.run("keeper", "fetch", "files.data", "before", timeout_s=40)
        assert late.retval == -errno.ETIMEDOUT, late
    finally:
        ceph.thaw()

    wait(lambda: not warned(), "no warning")
    assert running.active().name == active

    assert asked(running, "fetch", "files.data", "before") == "it froze"
