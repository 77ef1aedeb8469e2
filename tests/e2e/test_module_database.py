"""A module's database on real managers: what was acknowledged is there, whoever leads."""

from __future__ import annotations

import contextlib
import signal
import textwrap

import pytest

from mgr.errors import MgrError
from tests.support.cluster import wait_for

FRUIT = """
    import os
    from mgr_module import CLIReadCommand, CLIWriteCommand, CLIRequiresDB, MgrModule

    class Module(MgrModule):
        SCHEMA = ["CREATE TABLE Fruit (name TEXT PRIMARY KEY)", "CREATE TABLE Big (x BLOB)"]
        SCHEMA_VERSIONED = [SCHEMA]

        @CLIWriteCommand("fruit add", idempotent=True)
        @CLIRequiresDB
        def add(self, name: str):
            \"\"\"Add one\"\"\"
            with self._db_lock, self.db:
                self.db.execute("INSERT OR REPLACE INTO Fruit VALUES (?)", (name,))
            return 0, "", ""

        @CLIWriteCommand("fruit big")
        def big(self, kib: int):
            \"\"\"Fill it with what does not compress\"\"\"
            with self._db_lock, self.db:
                self.db.execute("INSERT INTO Big VALUES (?)", (os.urandom(kib * 1024),))
            return 0, "", ""

        @CLIReadCommand("fruit ls")
        @CLIRequiresDB
        def ls(self):
            \"\"\"List\"\"\"
            with self._db_lock, self.db:
                rows = self.db.execute("SELECT name FROM Fruit ORDER BY name").fetchall()
            return 0, "\\n".join(row["name"] for row in rows), ""
"""


@pytest.fixture
def cluster(start, tmp_path):
    package = tmp_path / "modules" / "fruit"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text(textwrap.dedent(FRUIT))
    running = start(module_path=tmp_path / "modules")
    running.settled()
    running.enable("fruit")
    return running


def fruit(cluster):
    return cluster.run("fruit", "ls").text.splitlines()


def test_an_acknowledged_commit_survives_a_kill(cluster):
    """``kill -9`` right after the answer, three times over: nothing that was told is missing."""
    received = []
    for round_number in range(3):
        active = cluster.settled()
        for number in range(5):
            name = f"{round_number}-{number}"
            answer = cluster.run("fruit", "add", name)
            assert answer.retval == 0, answer
            received.append(name)
        active.signal(signal.SIGKILL, worker=True)
        wait_for(lambda before=active: cluster.active().name != before.name, "a successor")
        assert fruit(cluster) == received


def test_a_commit_cut_off_by_a_kill_is_whole_or_not_there(cluster):
    """The active dies while it writes; its successor goes on with a sound database."""
    cluster.run("fruit", "add", "apple")
    active = cluster.settled()
    with cluster.client() as client:
        active.signal(signal.SIGSTOP, worker=True)
        with contextlib.suppress(MgrError):
            client.execute(["fruit", "big"], {"kib": 4096}, timeout_s=0.2)
        active.signal(signal.SIGCONT, worker=True)
        active.signal(signal.SIGKILL, worker=True)

    wait_for(lambda: cluster.active().name != active.name, "a successor")
    assert fruit(cluster) == ["apple"]
    assert cluster.run("fruit", "add", "pear").retval == 0
    assert fruit(cluster) == ["apple", "pear"]


def test_above_the_limit_is_a_clear_error_and_nothing_is_lost(cluster):
    """8 MiB compressed: the command that would go above says so, before and after are there."""
    cluster.run("fruit", "add", "apple")
    assert cluster.run("fruit", "big", kib=4096).retval == 0

    refused = cluster.run("fruit", "big", kib=4096)

    assert refused.retval == -22
    assert "database or disk is full" in refused.stderr
    assert cluster.run("fruit", "add", "pear").retval == 0
    assert cluster.run("mgr", "fail").retval == 0
    cluster.settled()
    assert fruit(cluster) == ["apple", "pear"]
