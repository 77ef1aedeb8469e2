"""Guards as processes with fake workers, over a real etcd."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from pathlib import Path

import pytest

from mgr.clock import CLOCK
from mgr.election.records import Leader, Presence, TermRecord, decode
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from tests.support import process

ROOT = Path(__file__).parents[3]
FAKE_MGRD = ROOT / "tests" / "support" / "fake_mgrd.py"
LOOK_EVERY_S = 0.002


class Guard:
    """One ``mgrd`` with a fake worker."""

    def __init__(self, team, name, words, settings):
        self.name = name
        self.log = team.directory / f"{name}-{uuid.uuid4().hex[:4]}.log"
        flags = {
            "id": name,
            "cluster": team.keys.cluster,
            "etcd": ",".join(team.etcd.endpoints),
            "lease-ttl-s": 2,
            "watchdog-s": 0.5,
            "drain-s": 0.3,
            **settings,
        }
        command = [sys.executable, "-P", FAKE_MGRD]
        self._process = process.start(
            [*command, *(part for flag, value in flags.items() for part in (f"--{flag}", value))],
            log=self.log,
            environment={"PYTHONPATH": str(ROOT), "FAKE_WORKER": words},
        )
        self.pid = self._process.pid

    @property
    def worker(self):
        """The worker's process, or None."""
        return process.worker_of(self.pid)

    def has_logged(self, words):
        """Whether the log holds ``words``."""
        return words in self.log.read_text()

    def signal(self, number):
        """Send the guard a signal."""
        os.kill(self.pid, number)

    @property
    def status(self):
        """The exit status; None while it runs."""
        return self._process.poll()

    def stop(self):
        """End it with its worker, whatever state they are in."""
        worker = self.worker
        self._process.kill()
        self._process.wait(5)
        if worker is not None and not process.gone(worker):
            os.kill(worker, signal.SIGKILL)


class Team:
    """Guards of one cluster, and what stands in the store."""

    def __init__(self, etcd, directory):
        self.etcd = etcd
        self.directory = directory
        self.keys = Keys(f"t{uuid.uuid4().hex[:8]}")
        self.store = EtcdStore(etcd.endpoints)
        self.guards = []

    def start(self, name, words="", **settings):
        """Start a guard."""
        made = Guard(self, name, words, {k.replace("_", "-"): v for k, v in settings.items()})
        self.guards.append(made)
        return made

    async def read(self, key, kind):
        """A record, or None."""
        record = await self.store.get(key)
        return None if record is None else decode(record.value, kind)

    async def leader(self):
        """The name in the leader key, or None."""
        found = await self.read(self.keys.leader, Leader)
        return None if found is None else found.name

    async def term(self):
        """The leader key's create revision; 0 while nobody leads."""
        record = await self.store.get(self.keys.leader)
        return record.create_revision if record else 0

    async def term_record(self):
        """How the newest term stands."""
        return await self.read(self.keys.term_record, TermRecord)

    async def warm(self, name):
        """Whether a manager shows itself warm."""
        found = await self.read(self.keys.manager(name), Presence)
        return found is not None and found.warm

    async def until(self, probe, limit_s=15.0):
        """Ask ``probe`` until it is true; the seconds that took."""
        began_s = CLOCK.now()
        while True:
            found = probe()
            if await found if asyncio.iscoroutine(found) else found:
                return CLOCK.now() - began_s
            assert CLOCK.now() - began_s < limit_s, self.logs()
            await asyncio.sleep(LOOK_EVERY_S)

    async def leads(self, *names):
        """Whether one of ``names`` leads."""
        return await self.leader() in names

    async def pair(self, words="", **settings):
        """Start ``a``, which leads then, and ``b``, which is warm then."""
        a = self.start("a", words, **settings)
        await self.until(lambda: self.leads("a"))
        b = self.start("b", words, **settings)
        await self.until(lambda: self.warm("b"))
        return a, b

    def logs(self):
        """Every log, for a failed test."""
        return "\n".join(f"---- {g.name}\n{g.log.read_text()}" for g in self.guards)

    async def close(self):
        """End everything."""
        for guard in self.guards:
            guard.stop()
        await self.store.close()


@pytest.fixture
async def team(etcd, tmp_path):
    """An empty cluster on the shared etcd."""
    made = Team(etcd, tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def team_of_three(etcd_cluster, tmp_path):
    """An empty cluster on three etcds of its own."""
    made = Team(etcd_cluster, tmp_path)
    yield made
    await made.close()
