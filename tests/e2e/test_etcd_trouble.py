"""The reason stands where an operator looks: status, health, the log, and ``-w``."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgr.errors import StoreFullError
from mgr.store.etcd import EtcdStore
from mgr.store.identity import StoreIdentity
from tests.support.cluster import Cluster, wait_for
from tests.support.etcd import Etcd

MGRCTL = Path(sys.executable).with_name("mgrctl")
QUOTA_BYTES = 4 << 20


@pytest.fixture
def small_etcd(etcd_program, etcd_directory, tmp_path_factory):
    """An etcd with room for a few megabytes."""
    directory = tmp_path_factory.mktemp("small", numbered=True)
    flags = {"quota-backend-bytes": str(QUOTA_BYTES)}
    with Etcd(directory, program=etcd_program, flags=flags) as running:
        yield running


def fill(etcd):
    """Write until etcd takes no more."""

    async def write():
        store = EtcdStore(etcd.endpoints, identity=StoreIdentity())
        try:
            for number in range(100):
                await store.create(f"/filler/{number}", "x" * 500_000, lease=0, timeout_s=10)
        finally:
            await store.close()

    with pytest.raises(StoreFullError):
        asyncio.run(write())


def caller(cluster, tmp_path):
    """``mgrctl`` for ``cluster``, run to its end."""
    env = os.environ | {
        "MGR_HOSTS": ",".join(cluster.hosts),
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def mgrctl(*words):
        return subprocess.run(
            [MGRCTL, *words], env=env, capture_output=True, text=True, check=False, timeout=60
        )

    return mgrctl


def test_an_etcd_without_space_is_named_wherever_an_operator_looks(small_etcd, tmp_path):
    """By the active, which is suspended; and no read is answered with an unknown outcome."""
    with Cluster(tmp_path, small_etcd.endpoints, names=("a", "b"), watchdog_s=20) as cluster:
        active = cluster.settled(90)
        mgrctl = caller(cluster, tmp_path)
        fill(small_etcd)

        def shown():
            found = mgrctl("-t", "30", "status", "-f", "json")
            return found if "no space" in found.stdout else None

        status = wait_for(shown, "a status with the reason", 60)
        health = mgrctl("-t", "30", "health")
        read = mgrctl("-t", "2", "log", "last")

        document = json.loads(status.stdout)
        assert status.returncode == 255
        assert document["health"]["status"] == "HEALTH_ERR"
        assert document["mgrmap"]["available"] is False
        assert "no space" in next(m["note"] for m in document["managers"] if m["note"])
        assert health.returncode == 255
        assert health.stdout.startswith("HEALTH_ERR no active manager")
        assert "defragment" in health.stdout
        assert read.returncode == 255
        assert "unknown" not in read.stderr
        assert "no space" in read.stderr
        assert "no space" in active.log.read_text()
