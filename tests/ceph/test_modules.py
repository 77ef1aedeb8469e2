"""Ceph's own modules, unmodified, on a manager beside a real Ceph: they answer truthfully."""

from __future__ import annotations

import json

import pytest

from tests.support.ceph import ALL_BUT_CEPH
from tests.support.cluster import wait_for

MODULES = (
    "balancer", "devicehealth", "insights", "mirroring", "nfs", "orchestrator", "osd_support",
    "pg_autoscaler", "progress", "rbd_support", "snap_schedule", "status", "test_orchestrator",
    "volumes",
)  # fmt: skip


@pytest.fixture(scope="module")
def running(start, programs, tmp_path_factory):
    """One manager with Ceph's modules."""
    folder = tmp_path_factory.mktemp("modules")
    for name in MODULES:
        (folder / name).symlink_to(programs.modules / name)
    with start(names=("a",), folders=[folder], bundled_skip=ALL_BUT_CEPH) as cluster:
        cluster.active(400)
        options = {
            "mgr_module_isolation": "process", "mgr/ceph/poll_interval": "0.5",
            "mgr/snap_schedule/allow_m_granularity": "true",
        }  # fmt: skip
        assert cluster.run("mgr", "module", "enable", "ceph").retval == 0
        for name, value in options.items():
            assert cluster.run("config", "set", "mgr", name, value).retval == 0
        cluster.run("mgr", "module", "reload", "ceph")
        cluster.enable(*MODULES)
        yield cluster


def asked(running, *words, **arguments):
    """What a command answers; it must not fail."""
    answer = running.run(*words, timeout_s=50, **arguments)
    assert answer.retval == 0, (words, answer)
    return answer.text


def read(running, *words):
    """The same, decoded."""
    return json.loads(asked(running, *words, format="json"))


def test_none_of_them_has_failed(running):
    """They have found what they look for when they start."""
    health = running.run("health", "detail").text

    assert "MGR_MODULE_ERROR" not in health, health


def test_status_shows_osds_and_file_systems(running):
    """With names, sizes and hosts of the real ones."""
    osds = asked(running, "osd", "status")
    files = asked(running, "fs", "status")

    assert "exists,up" in osds
    assert "512M" in osds or "511M" in osds, osds
    assert "files" in files
    assert "active" in files


def test_volumes_makes_and_removes_what_ceph_has(running, ceph):
    """A group, a subvolume and a snapshot in a real file system."""
    assert [one["name"] for one in read(running, "fs", "volume", "ls")] == ["files"]
    asked(running, "fs", "subvolumegroup", "create", "files", "group")
    asked(running, "fs", "subvolume", "create", "files", "sub", group_name="group")
    path = asked(running, "fs", "subvolume", "getpath", "files", "sub", group_name="group").strip()
    assert path.startswith("/volumes/group/sub/")
    asked(running, "fs", "subvolume", "snapshot", "create", "files", "sub", "s", group_name="group")
    listed = read(running, "fs", "subvolume", "snapshot", "ls", "files", "sub", "group")
    assert [one["name"] for one in listed] == ["s"]
    asked(running, "fs", "subvolume", "snapshot", "rm", "files", "sub", "s", group_name="group")
    asked(running, "fs", "subvolume", "rm", "files", "sub", group_name="group")
    assert read(running, "fs", "subvolume", "ls", "files", "group") == []


def test_snap_schedule_keeps_a_schedule_in_the_cluster(running):
    """And lists it again, from an object in the metadata pool."""
    asked(running, "fs", "snap-schedule", "add", "/", "1h")

    assert "1h" in asked(running, "fs", "snap-schedule", "list", "/")
    asked(running, "fs", "snap-schedule", "remove", "/")


def test_rbd_support_knows_the_pools(running, ceph):
    """Its schedules are objects of a pool, its tasks work on images."""
    if "images" not in ceph.run("osd", "pool", "ls").split():
        ceph.run("osd", "pool", "create", "images", "1")
        ceph.run("osd", "pool", "application", "enable", "images", "rbd")

    def added():
        answer = running.run(
            "rbd", "trash", "purge", "schedule", "add", "images/", "1h", timeout_s=50
        )
        return answer.retval == 0

    wait_for(added, "the pool known to rbd_support", 400)
    assert read(running, "rbd", "trash", "purge", "schedule", "list", "images/")
    assert read(running, "rbd", "task", "list") == []


def test_mirroring_switches_a_file_system(running, ceph):
    """It changes the map of file systems, and reads it."""
    asked(running, "fs", "snapshot", "mirror", "enable", "files")
    wait_for(
        lambda: "mirror_info" in ceph.run("fs", "dump", "--format", "json"), "mirroring on", 400
    )
    asked(running, "fs", "snapshot", "mirror", "disable", "files")


def test_nfs_makes_its_pool_and_its_configuration(running, ceph):
    """In the real cluster; the daemons are an orchestrator's, which only stands for one here."""
    # It may be enabled and not have started.
    backend = ("orch", "set", "backend", "test_orchestrator")
    wait_for(lambda: running.run(*backend, timeout_s=50).retval == 0, "the backend", 400)
    asked(running, "nfs", "cluster", "create", "tried")

    assert ".nfs" in ceph.run("osd", "pool", "ls").split()
    assert asked(running, "nfs", "cluster", "ls").strip() == ""


def test_the_balancer_and_the_autoscaler_judge_real_pools(running):
    """Read-only."""
    assert read(running, "balancer", "status")["mode"]
    assert "score" in asked(running, "balancer", "eval")
    pools = {one["pool_name"] for one in read(running, "osd", "pool", "autoscale-status")}
    assert {"files.meta", "files.data"} <= pools


def test_devicehealth_and_insights_answer(running, ceph):
    """The former has no devices here; the latter knows the cluster's maps."""
    assert running.run("device", "check-health", timeout_s=50).retval == 0
    insights = json.loads(asked(running, "insights"))
    assert insights["osd_dump"]["fsid"] == ceph.fsid
    assert insights["osd_tree"]
