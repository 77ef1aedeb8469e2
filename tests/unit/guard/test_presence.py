"""A name belongs to one manager at a time."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from mgr.election.records import Presence, decode, encode
from mgr.election.session import LeaseSession
from mgr.election.timing import Timing
from mgr.errors import LeaseExpiredError, NameTakenError
from mgr.guard import identity as identity_file
from mgr.guard import presence as presence_file
from mgr.guard.identity import ProcessIdentity, process_start_time
from mgr.guard.presence import PresenceKey
from mgr.guard.state import GuardContext
from mgr.settings import Settings
from mgr.store.api import Delete, Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.lossy import LossyStore, Lost

KEYS = Keys("c")
ME = ProcessIdentity.of_this_process("1")
DEAD = 2**22 + 1
"""Above every process id that Linux gives."""


def shown(identity, **fields):
    """What a manager that runs as ``identity`` would show."""
    values = {
        "name": "a",
        "incarnation": "",
        "host": identity.host,
        "boot_id": identity.boot_id,
        "pid_namespace": identity.pid_namespace,
        "pid": identity.pid,
        "pid_started": identity.pid_started,
        "grpc_address": "",
        "http_address": "",
        "version": identity.version,
        "started_at": "noon",
    }
    return Presence(**(values | fields))


class Scene:
    """A store on a manual clock, and places in it."""

    def __init__(self):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)

    async def place(self, identity, store=None):
        """A place for manager ``a``, with a lease of its own."""
        context = GuardContext(
            Settings(id="a", cluster="c"), store or self.store, self.clock, identity
        )
        session = LeaseSession(context.store, self.clock, Timing.of_lease(5))
        await session.open()
        return PresenceKey(context, session)

    async def holder(self):
        """Who holds the name."""
        record = await self.store.get(KEYS.manager("a"))
        return None if record is None else decode(record.value, Presence)


@pytest.fixture
def scene(monkeypatch):
    made = Scene()

    async def pause(seconds):
        made.clock.advance(seconds)

    monkeypatch.setattr(presence_file.asyncio, "sleep", pause)
    return made


def elsewhere(**fields):
    """A process on another machine."""
    return replace(ME, host="h2", boot_id="another", **fields)


async def test_a_free_name_is_taken(scene):
    """The claim is the key's create revision."""
    place = await scene.place(ME)

    await place.claim(shown(ME))

    assert (await scene.store.get(KEYS.manager("a"))).create_revision == place.create_revision


async def test_a_name_held_by_a_live_manager_is_refused_and_its_holder_named(scene):
    """After its lease has had time to run out, which it did not."""
    other = await scene.place(elsewhere(pid=77))
    await other.claim(shown(elsewhere(pid=77)))
    lease = other._session.lease
    scene.clock.on_advance(lambda: scene.store._leases[lease].__setattr__("ends_at", 1e9))
    began_s = scene.clock.now()

    with pytest.raises(NameTakenError) as caught:
        await (await scene.place(ME)).claim(shown(ME))

    assert "process 77 on host h2 since noon" in str(caught.value)
    assert "--id" in str(caught.value)
    assert 6.0 <= scene.clock.now() - began_s < 7.0


async def test_a_name_whose_holder_does_not_renew_is_taken_when_its_lease_ends(scene):
    """Its host is gone: nobody has to do anything."""
    other = await scene.place(elsewhere())
    await other.claim(shown(elsewhere()))

    place = await scene.place(ME)
    scene.clock.on_advance(
        lambda: scene.store._leases[place._session.lease].__setattr__("ends_at", 1e9)
    )
    await place.claim(shown(ME))

    assert (await scene.holder()).host == ME.host


@pytest.mark.parametrize("value", ["{}", encode(shown(replace(ME, pid=DEAD)))])
async def test_a_presence_without_a_lease_is_removed(scene, value):
    """Somebody wrote it by hand: nobody lives behind it, and no lease would ever end it."""
    await scene.store.commit([Put(KEYS.manager("a"), value)])
    place = await scene.place(ME)

    async with asyncio.timeout(5):
        await place.claim(shown(ME))

    record = await scene.store.get(KEYS.manager("a"))
    assert record.lease == place._session.lease
    assert record.create_revision == place.create_revision


async def test_what_a_dead_process_of_this_host_left_behind_is_taken_at_once(scene):
    """Its lease is revoked, and with it the leader key it may still hold."""
    dead = replace(ME, pid=DEAD)
    other = await scene.place(dead)
    await other.claim(shown(dead))
    await scene.store.create(KEYS.leader, "a", lease=other._session.lease)
    began_s = scene.clock.now()

    await (await scene.place(ME)).claim(shown(ME))

    assert scene.clock.now() == began_s
    assert await scene.store.get(KEYS.leader) is None
    assert (await scene.holder()).pid == ME.pid


async def test_a_claim_whose_answer_was_lost_is_read_back(scene):
    """It is ours, however it came to be."""
    wire = LossyStore(scene.store)
    place = await scene.place(ME, wire)
    losses = iter([Lost.NOTHING, Lost.ANSWER, Lost.NOTHING])
    wire.losing = lambda: next(losses)

    await place.claim(shown(ME))

    assert place.create_revision


async def test_a_place_that_is_lost_is_not_written_again(scene):
    """Another may have it by now."""
    place = await scene.place(ME)
    await place.claim(shown(ME))
    assert await place.update(shown(ME, warm=True))
    assert (await scene.holder()).warm

    await scene.store.commit([Delete(place.key)])

    assert not await place.update(shown(ME))
    assert await scene.holder() is None


async def test_without_a_lease_nothing_is_written(scene):
    """The key would stand for ever."""
    place = await scene.place(ME)
    await place.claim(shown(ME))
    place._session.forget()

    with pytest.raises(LeaseExpiredError):
        await place.update(shown(ME))


def test_a_process_id_that_was_given_again_is_another_process():
    """The same number with another start time: the one that is meant is over."""
    parent = os.getppid()
    alive = replace(ME, pid=parent, pid_started=process_start_time(parent))

    assert not ME.outlived(shown(alive))
    assert ME.outlived(shown(replace(alive, pid_started=alive.pid_started - 1)))


def test_a_process_of_another_machine_or_namespace_cannot_be_judged():
    """Its number means nothing here."""
    dead = replace(ME, pid=DEAD)

    assert not ME.outlived(shown(replace(dead, boot_id="another")))
    assert not ME.outlived(shown(replace(dead, pid_namespace="pid:[1]")))
    assert ME.outlived(shown(dead))


def test_what_this_very_process_left_under_an_earlier_lease_is_its_own():
    """It joined before and lost that lease."""
    assert ME.outlived(shown(ME))


def test_a_manager_describes_its_host():
    """In Ceph's words; all of it text."""
    assert {
        "arch",
        "os",
        "kernel_version",
        "kernel_description",
        "mem_total_kb",
    } <= ME.machine.keys()
    assert ME.machine["mem_total_kb"].isdecimal()
    assert all(isinstance(value, str) for value in ME.machine.values())


def test_a_host_without_a_proc_file_is_described_by_the_rest(tmp_path):
    """A field that cannot be found out is left out."""
    assert identity_file._fields(tmp_path / "none") == {}
