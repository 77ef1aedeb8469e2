"""A manager beside a Ceph of a later release, whose daemons are a later Debian's."""

from __future__ import annotations

import json

import pytest

from tests.support.ceph import Ceph, NoCephPackagesError, fetch_programs
from tests.support.cluster import wait_for

WAIT_S = 400


@pytest.mark.parametrize(("release", "name"), [("18.2", "reef"), ("20.2", "tentacle")])
def test_modules_work_on_a_later_release(release, name, beside, tmp_path):
    """Maps, commands, objects and files, with the bindings of the release before."""
    try:
        programs = fetch_programs(release)
    except NoCephPackagesError as error:
        pytest.skip(f"NO CEPH {release} TESTED: {error}")
    with Ceph(tmp_path, programs) as ceph, beside(ceph, names=("a",)) as running:
        running.active(WAIT_S)
        options = {"mgr_module_isolation": "process", "mgr/ceph/poll_interval": "0.5"}
        for option, value in options.items():
            assert running.run("config", "set", "mgr", option, value).retval == 0
        running.enable("ceph", "keeper")

        def asked(*words):
            answer = running.run("keeper", *words, timeout_s=60)
            assert answer.retval == 0, answer
            return answer.text

        def reached():
            answer = running.run("ceph", "status", format="json")
            return answer.retval == 0 and json.loads(answer.text)["reachable"]

        wait_for(reached, "the connection to Ceph", WAIT_S)
        assert json.loads(asked("get", "osd_map"))["fsid"] == ceph.fsid
        assert json.loads(asked("metadata", "mon", "a"))["ceph_release"] == name
        made = {"prefix": "osd pool create", "pool": "made", "pg_num": 1}
        shown = json.loads(asked("mon", json.dumps(made), "osd_map"))
        assert "made" in {pool["pool_name"] for pool in shown["pools"]}
        asked("put", "files.data", "kept", "by a")
        assert asked("fetch", "files.data", "kept") == "by a"
        asked("file", "put", "/kept", "by a")
        assert asked("file", "fetch", "/kept") == "by a"
        asked("send", "osd", "0", json.dumps({"prefix": "perf dump"}), "t")
