"""``mgr set down``: nobody leads, and a standby is who ends that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.cluster import wait_for

MGRCTL = Path(sys.executable).with_name("mgrctl")


def test_managers_are_set_down_and_raised_again(cluster, tmp_path):
    """Through a crash; a client reads why nobody leads."""
    env = os.environ | {
        "MGR_HOSTS": ",".join(cluster.hosts),
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def mgrctl(*words):
        return subprocess.run(
            [MGRCTL, *words], env=env, capture_output=True, text=True, check=False
        )

    active = cluster.active()
    down = mgrctl("mgr", "set", "down", "true")

    def nobody():
        found = mgrctl("-t", "1", "status")
        return found if found.returncode else None

    wait_for(nobody, "nobody leads")
    active.signal(signal.SIGKILL, worker=True)
    refused = mgrctl("-t", "3", "mgr", "stat")
    enabled = mgrctl("mgr", "module", "enable", "hello")
    option = mgrctl("config", "set", "mgr", "mgr/hello/place", "Rome")
    up = mgrctl("mgr", "set", "down", "false")

    assert down.returncode == 0
    assert "no manager takes it" in down.stderr
    assert refused.returncode == 255
    assert "nobody leads until 'mgrctl mgr set down false'" in refused.stderr
    stored = "stored; no manager is active\n"
    for answer in (enabled, option, up):
        assert (answer.returncode, answer.stderr) == (0, stored)
    cluster.active()
    assert "Rome" in wait_for(lambda: mgrctl("hello").stdout, "the module that was enabled")
    audited = mgrctl("log", "last", "100", "debug", "audit").stdout
    assert "executed 'mgr module enable module=hello'" in audited
    assert "executed 'config set who=mgr name=mgr/hello/place value=Rome'" in audited
    assert mgrctl("mgr", "stat").returncode == 0
