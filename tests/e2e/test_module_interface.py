"""The module interface tries itself, in a real manager over a real etcd."""

from __future__ import annotations

import json

from tests.support.cluster import wait_for


def test_every_check_of_the_selftest_passes_in_a_real_manager(start):
    """What the modules' own tests assume of the host, the host does."""
    cluster = start(names=("a",))
    cluster.active()
    cluster.enable("selftest")

    answer = cluster.run("mgr", "self-test", "run", timeout_s=30)

    assert answer.retval == 0, answer.text
    assert set(json.loads(answer.text).values()) == {"ok"}
    left_behind = json.loads(cluster.run("config-key", "dump", "mgr/selftest").text)
    assert left_behind == {}


def test_a_module_is_reported_its_keys_that_an_operator_changes(start):
    """The next active's instance watches again."""
    cluster = start(names=("a", "b"))
    cluster.active()
    cluster.enable("selftest")
    key = "mgr/selftest/watched/x"

    def received():
        return json.loads(cluster.run("selftest", "notifications").text)

    for value in ("1", "2"):
        # A new active takes the manager's own commands before its modules are there to watch.
        wait_for(lambda: received() == [], "an instance without notifications")
        assert cluster.run("config-key", "set", key, value).retval == 0
        assert wait_for(received, "notifications") == ["watched/x"]
        assert cluster.run("mgr", "fail").retval == 0
