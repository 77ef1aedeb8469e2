"""Managers, an etcd of another cluster among their endpoints, and an etcd restored from a backup.

The commands are those of docs/how-to/back-up-and-restore.md, as they stand there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from mgr.client.messages import Status
from mgr.errors import MgrError
from tests.support.cluster import Cluster, wait_for
from tests.support.etcd import Etcd
from tests.support.tree import ROOT

SECTION = "# Back up all of etcd"
BUMP = " --bump-revision 1000000000 --mark-compacted"
RESTORED_WITHIN_S = 45


def documented(words):
    """The line of the procedure that begins with ``words``."""
    page = (ROOT / "docs/how-to/back-up-and-restore.md").read_text()
    section = page.partition(SECTION)[2]
    [line] = re.findall(rf"^{re.escape(words)}.*$", section, re.MULTILINE)
    return line


class Backup:
    """One etcd that is backed up and restored as the page says."""

    def __init__(self, etcd, path, folder):
        self.etcd = etcd
        self.folder = folder
        self._environment = {
            **os.environ,
            "PATH": path,
            "ETCD": etcd.address,
            "BACKUP": str(folder / "backup.db"),
            "NAME": etcd.name,
            "MEMBERS": etcd.cluster,
            "PEER_URL": etcd.peer,
            "DATA_DIR": str(etcd.directory / f"{etcd.name}.data"),
            "STATE_DIR": str(folder / "state"),
        }

    def run(self, line):
        """Run a line of the page in a shell."""
        done = subprocess.run(
            ["/bin/bash", "-ec", line],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def save(self):
        """Back up, and look whether the copy is good."""
        self.run(documented("etcdctl --endpoints"))
        assert "REVISION" in self.run(documented("etcdutl snapshot status"))

    def restore(self, *, as_documented=True, more=""):
        """Stop etcd, restore it and start it; otherwise without the flags that raise revisions."""
        self.etcd.kill()
        shutil.rmtree(self.etcd.directory / f"{self.etcd.name}.data")
        line = documented("etcdutl snapshot restore") + more
        assert BUMP in line
        self.run(line if as_documented else line.replace(BUMP, ""))
        self.etcd.start()
        self.etcd.wait_ready()


@pytest.fixture
def backup(own_etcd, etcd_tools, tmp_path):
    """An etcd of the test's own, with its backups."""
    return Backup(own_etcd, etcd_tools, tmp_path)


@pytest.fixture
def managers(backup, tmp_path):
    """Start three managers over that etcd."""
    with contextlib.ExitStack() as running:

        def start(**settings):
            settings = {"lease_ttl_s": 2, "state_dir": tmp_path / "state", **settings}
            cluster = Cluster(tmp_path, backup.etcd.endpoints, **settings)
            running.enter_context(cluster)
            cluster.settled()
            return cluster

        yield start


def statuses(cluster):
    """What each manager says of itself and of the cluster; one that is silent is left out."""
    with cluster.client() as client:
        return {s.name: s for s in client.statuses().values() if isinstance(s, Status)}


def term(cluster):
    """The term, as the active says it."""
    with cluster.client() as client:
        return client.status().active.term


def explained(cluster, newest):
    """Whether no manager names an active, and each says that etcd went back, in status or log.

    No manager may ever name an active of a term before ``newest``.
    """
    found = statuses(cluster)
    named = [status.active for status in found.values() if status.active]
    assert all(active.term >= newest for active in named)
    notes = [status.note for status in found.values()]
    logs = [manager.log.read_text() for manager in cluster.managers.values()]
    return (
        not named
        and all("went back in time" in note for note in notes)
        and all("--bump-revision" in log for log in logs)
    )


def set_place(cluster, value):
    """Change an option."""
    answer = cluster.run("config", "set", who="mgr", name="mgr/hello/place", value=value)
    assert answer.retval == 0, answer


def place(cluster):
    """The option's value, as the active serves it."""
    return cluster.run("config", "get", who="mgr.a", key="mgr/hello/place").text.strip()


def fail_over(cluster):
    """Let another manager lead; its term."""
    before = term(cluster)
    cluster.run("mgr", "fail")

    def later():
        try:
            return found if (found := term(cluster)) > before else None
        except (MgrError, AttributeError):
            return None

    wait_for(later, "a later term")
    cluster.settled()
    return term(cluster)


def test_a_plain_restore_gives_no_old_term_again(backup, managers):
    """Nobody leads and each says why; restored as documented, they go on by themselves.

    The copy holds the leader key of an old term, on a lease that a manager still has.
    """
    cluster = managers()
    backup.save()
    newest = max(fail_over(cluster) for _ in range(3))

    backup.restore(as_documented=False)
    wait_for(lambda: explained(cluster, newest), "what each manager says", RESTORED_WITHIN_S)
    assert len(statuses(cluster)) >= 2
    with pytest.raises(MgrError):
        cluster.run("mgr", "stat", timeout_s=2)

    backup.restore()
    cluster.settled(RESTORED_WITHIN_S)
    assert term(cluster) > newest
    assert {status.note for status in statuses(cluster).values()} == {""}
    assert fail_over(cluster) > newest


def test_a_restore_as_documented_begins_a_later_term(backup, managers):
    """Nothing is done to the managers. The active of before does not go on with what it knew."""
    cluster = managers()
    backup.save()
    set_place(cluster, "Later")
    before = term(cluster)

    backup.restore()

    wait_for(lambda: later_than(cluster, before), "a later term", RESTORED_WITHIN_S)
    cluster.settled(RESTORED_WITHIN_S)


def test_after_a_restore_the_active_serves_what_is_in_etcd(backup, managers):
    """Not what it, or a standby that became active, had in memory."""
    cluster = managers()
    set_place(cluster, "Backup")
    backup.save()
    set_place(cluster, "Later")
    before = term(cluster)

    backup.restore()

    wait_for(lambda: later_than(cluster, before), "a later term", RESTORED_WITHIN_S)
    assert place(cluster) == "Backup"


def later_than(cluster, before):
    """Whether an active answers, of a term after ``before``."""
    try:
        return term(cluster) > before and place(cluster)
    except (MgrError, AttributeError):
        return False


def test_a_restore_while_all_managers_are_stopped_is_noticed(backup, managers):
    """What they must know outlives them, in the folder of the setting state_dir."""
    cluster = managers()
    backup.save()
    newest = fail_over(cluster)
    for manager in cluster.managers.values():
        manager.signal(signal.SIGTERM)
    for manager in cluster.managers.values():
        manager.wait()

    backup.restore(as_documented=False)
    for manager in cluster.managers.values():
        manager.start()
    wait_for(lambda: explained(cluster, newest), "what each manager says", RESTORED_WITHIN_S)

    backup.restore()
    cluster.settled(RESTORED_WITHIN_S)
    assert term(cluster) > newest


def test_an_etcd_of_another_id_is_adopted_by_hand_only(backup, managers):
    """Restored under another token: foreign, until each manager's file forgets the old id."""
    cluster = managers()
    newest = fail_over(cluster)
    backup.save()
    backup.restore(more=" --initial-cluster-token another")

    def foreign():
        notes = [status.note for status in statuses(cluster).values()]
        return len(notes) == 3 and all("belongs to cluster" in note for note in notes)

    wait_for(foreign, "managers that name the foreign etcd", RESTORED_WITHIN_S)
    for manager in cluster.managers.values():
        manager.stop()
    backup.run(documented("sed -i"))
    for manager in cluster.managers.values():
        manager.start()

    cluster.settled(RESTORED_WITHIN_S)
    assert term(cluster) > newest


@pytest.fixture
def foreign_etcd(etcd_program, etcd_directory):
    """An etcd of a cluster of its own."""
    directory = Path(tempfile.mkdtemp(dir=etcd_directory))
    with Etcd(directory, name="x", program=etcd_program) as running:
        yield running
    shutil.rmtree(directory)


def test_a_foreign_endpoint_costs_no_term(etcd_cluster, foreign_etcd, tmp_path, etcd_tools):
    """One of four addresses is of another cluster, and the first one dies: the others are used."""
    e1, e2, e3 = etcd_cluster.members
    endpoints = [e1.address, foreign_etcd.address, e2.address, e3.address]
    with Cluster(tmp_path, endpoints) as cluster:
        cluster.settled()

        def warned():
            return "MGR_ETCD_FOREIGN" in cluster.run("health", "detail").text

        wait_for(warned, "the health check")
        e1.kill()

        cluster.active(RESTORED_WITHIN_S)
        set_place(cluster, "here")
        fail_over(cluster)
        assert place(cluster) == "here"
        for manager in cluster.managers.values():
            assert foreign_etcd.address in manager.log.read_text()
        keys = subprocess.run(
            ["etcdctl", "--endpoints", foreign_etcd.address, "get", "", "--prefix", "--keys-only"],
            env={**os.environ, "PATH": etcd_tools},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert keys.stdout.strip() == ""
