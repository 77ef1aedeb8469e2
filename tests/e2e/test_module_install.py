"""A module is installed by one command on every manager, and survives what befalls them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mgr.store.api import Put
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from tests.support.cluster import wait_for

MGRCTL = Path(sys.executable).with_name("mgrctl")
MODULE = '''
from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule


class Module(MgrModule):
    @CLIReadCommand("greeter ask")
    def ask(self) -> HandleCommandResult:
        """Answer with the version"""
        return HandleCommandResult(stdout="{version}")
'''


@pytest.fixture
def greeter(tmp_path):
    """Pack a version of the module; the path of its package."""

    def pack(version, text=MODULE):
        folder = tmp_path / version / "greeter"
        folder.mkdir(parents=True)
        (folder / "module.py").write_text(text.replace("{version}", version))
        package = tmp_path / f"{version}.mgrmodule"
        done = subprocess.run(
            [MGRCTL, "-o", package, "module", "package", folder], capture_output=True, check=True
        )
        assert done.stdout.startswith(b"sha256:")
        return package

    return pack


@pytest.fixture
def running(start, tmp_path):
    """Three managers that take packages."""
    cluster = start(module_install="true", state_dir=str(tmp_path / "state"))
    cluster.settled(120)
    return cluster


def mgrctl(cluster, *words):
    """Run it; exit status and what it said."""
    done = subprocess.run(
        [MGRCTL, "-m", ",".join(cluster.hosts), "-t", "60", *map(str, words)],
        env=os.environ | {"XDG_CACHE_HOME": str(cluster.directory)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def answer(cluster):
    """What the module answers, once a manager is active."""
    return cluster.run("greeter", "ask", timeout_s=60).text


def missing(cluster):
    """Which managers lack it, and why."""
    [module] = json.loads(cluster.run("mgr", "module", "installed", format="json").text)
    return module["missing"]


def test_a_module_is_installed_everywhere_upgraded_and_rolled_back(running, greeter):
    """One command each; a version that does not load changes nothing; a failover neither."""
    status, said = mgrctl(running, "mgr", "module", "install", greeter("one"))
    assert (status, "is installed on every manager" in said) == (0, True), said
    running.enable("greeter")
    assert answer(running) == "one"

    assert mgrctl(running, "mgr", "module", "install", greeter("two"))[0] == 0
    assert answer(running) == "two"
    status, said = mgrctl(running, "mgr", "module", "install", greeter("bad", "import nowhere"))
    assert (status, "No module named 'nowhere'" in said) == (22, True), said
    assert answer(running) == "two"

    running.settled(60).signal(signal.SIGKILL, worker=True)
    assert answer(running) == "two"
    running.settled(60)
    status, said = mgrctl(running, "mgr", "module", "rollback", "greeter")
    assert (status, answer(running)) == (0, "one"), said
    running.settled(60).signal(signal.SIGKILL)
    assert answer(running) == "one"

    assert mgrctl(running, "mgr", "module", "uninstall", "greeter")[0] == 16
    assert mgrctl(running, "mgr", "module", "disable", "greeter")[0] == 0
    assert mgrctl(running, "mgr", "module", "uninstall", "greeter")[0] == 0
    assert "no module is installed" in mgrctl(running, "mgr", "module", "installed")[1]
    assert "greeter" not in mgrctl(running, "mgr", "module", "ls")[1]


def test_a_manager_that_joins_later_fetches_it_and_damage_is_named(running, greeter):
    """In process isolation, too; what is damaged in etcd is not run, and mended by a repetition."""
    package = greeter("one")
    assert mgrctl(running, "mgr", "module", "install", package)[0] == 0
    running.run("config", "set", "mgr", "mgr_module_isolation", "greeter=process")
    running.enable("greeter")

    running.add("d").start()
    running.settled(60)
    assert missing(running) == {}
    assert mgrctl(running, "mgr", "fail", "--successor", "d")[0] == 0
    assert wait_for(lambda: running.active().name == "d", "d leads", 60)
    assert answer(running) == "one"

    asyncio.run(damage(running))
    running.add("e", module_install="true").start()
    running.add("f", module_install="false").start()
    running.settled(60)
    found = wait_for(lambda: missing(running), "they say what they lack", 60)
    assert "in etcd is damaged: install it again" in found["e"]
    assert "set module_install" in found["f"]
    health = wait_for(
        lambda: running.run("health", "detail").text.count("does not have module 'greeter'") > 1,
        "health names both",
    )
    assert health

    running.managers["f"].stop()
    assert mgrctl(running, "mgr", "module", "install", package)[0] == 0
    wait_for(lambda: missing(running) == {}, "e has it", 60)


async def damage(cluster):
    """Change the package in etcd, as a broken disk or an intruder would."""
    store, keys = EtcdStore(cluster.etcd), Keys(cluster.name)
    try:
        listing = await store.list(keys.packages)
        [chunk] = listing.records
        await store.commit([Put(chunk.key, "AAAA" + chunk.value[4:])])
    finally:
        await store.close()
