"""The module interface tries itself, in a real manager over a real etcd."""

from __future__ import annotations

import json


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
