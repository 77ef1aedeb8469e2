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
    up = mgrctl("mgr", "set", "down", "false")

    assert (down.returncode, "no manager takes it" in down.stderr) == (0, True)
    assert refused.returncode == 255
    assert "nobody leads until 'mgrctl mgr set down false'" in refused.stderr
    assert (up.returncode, up.stderr) == (0, "")
    cluster.active()
    assert mgrctl("mgr", "stat").returncode == 0
