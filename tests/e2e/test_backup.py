"""``mgrctl backup``, ``mgrd restore`` into a new etcd, and a cluster that starts on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, Manager
from tests.support.etcd import Etcd

NAMES = ("a", "b")


@pytest.fixture
def new_etcd(etcd_program, tmp_path):
    """Another etcd, empty, of another id."""
    with Etcd(tmp_path / "new-etcd", name="n1", program=etcd_program) as found:
        yield found


@pytest.fixture
def seal_key(tmp_path):
    """The key that no backup has."""
    path = tmp_path / "seal.key"
    path.write_text(b64encode(os.urandom(32)).decode())
    path.chmod(0o600)
    return str(path)


def run(*words, **environment):
    """Run one of our programs to its end."""
    name, *rest = map(str, words)
    return subprocess.run(
        [Path(sys.executable).with_name(name), *rest],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Successor(Cluster):
    """A cluster of the name of another one."""

    def _manager(self, name: str) -> Manager:
        self.name = self._settings["cluster"]
        return super()._manager(name)


@pytest.mark.timeout(180)  # two clusters, and programs that restore one from the other
def test_a_cluster_goes_on_with_its_backup_on_a_new_etcd(start, tmp_path, new_etcd, seal_key):
    """Options, data, sealed secrets, history and audit are there, and terms keep growing."""
    old = start(names=NAMES, seal_key_file=seal_key)
    old.active(120)
    assert old.run("config", "set", "mgr", "mgr/hello/place", "Rome").retval == 0
    secret = ("mgr", "mgr/hello/api_token", "hunter2", "--force")
    assert old.run("config", "set", *secret).retval == 0
    assert old.run("config-key", "set", "k\u00e9y", "v" * 60_000).retval == 0
    term = json.loads(old.run("status", format="json").stdout)["mgrmap"]["term"]

    file, home = tmp_path / "backup.gz", {"XDG_CACHE_HOME": str(tmp_path)}
    made = run("mgrctl", "-m", ",".join(old.hosts), "backup", file, **home)

    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert "hunter2" not in file.read_bytes().decode(errors="replace")
    audited = json.loads(old.run("audit", "ls", format="json").stdout)
    assert [each["command"] for each in audited][-1] == "backup begin"
    living = run("mgrd", "restore", file, "--etcd", ",".join(old.etcd), "--cluster", old.name)
    assert (living.returncode, living.stderr.count("\n")) == (1, 1)
    assert "managers of" in living.stderr
    old.stop()

    where = ("--etcd", ",".join(new_etcd.endpoints), "--cluster", old.name)
    restored = run("mgrd", "restore", file, *where)

    assert restored.returncode == 0, restored.stderr
    assert "secrets are sealed" in restored.stdout
    assert "another one than before" in restored.stdout
    settings = {"cluster": old.name, "seal_key_file": seal_key}
    with Successor(tmp_path, new_etcd.endpoints, names=NAMES, **settings) as new:
        new.active(120)
        assert new.run("config", "get", "mgr", "mgr/hello/place").text == "Rome\n"
        assert new.run("config", "get", "mgr", "mgr/hello/api_token").text == "hunter2\n"
        assert new.run("config-key", "get", "k\u00e9y").text.strip() == "v" * 60_000
        status = json.loads(new.run("status", format="json").stdout)
        assert status["mgrmap"]["term"] > term
        history = json.loads(new.run("mgr", "history", format="json").stdout)
        assert [each["term"] for each in history][:2] == [status["mgrmap"]["term"], term]
        commands = [
            each["command"] for each in json.loads(new.run("audit", "ls", format="json").stdout)
        ]
        assert "config set" in commands
        assert "mgrd restore" in commands
