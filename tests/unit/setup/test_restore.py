"""``mgrd restore``: into an empty store, not into a living cluster, again if interrupted."""

from __future__ import annotations

import pytest

from mgr.backup_file import Backup, BackupHeader
from mgr.errors import InvalidArgumentError, NotPermittedError, StoreUnavailableError
from mgr.setup import restore
from mgr.setup.restore import Plan
from mgr.store.api import NO_LEASE, Delete, Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock

KEYS = Keys("test")
RECORDS = [("config/mgr/a", "1"), ("kv/x", "!sealed:k1:..."), ("pki/ca", "{}"), ("seals/k1", "w")]


def backup(records=RECORDS, *, revision=100, cluster="test", sha256="abc"):
    header = BackupHeader(cluster=cluster, revision=revision, term=90, made_at="then", made_by="1")
    return Backup(header, sorted(records), sha256)


@pytest.fixture
def store():
    return MemoryStore(ManualClock())


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Nobody waits a minute for an active that does not hand over."""
    monkeypatch.setattr(restore, "STAND_DOWN_S", 0.0)


async def run(store, found=None, **plan):
    said = []
    done = await restore.restore(store, KEYS, found or backup(), Plan(**plan), progress=said.append)
    return done, said


async def stored(store):
    """What is in the store, by relative key; notes for the audit under one name."""
    listing = await store.list(KEYS.root)
    records = {each.key.removeprefix(KEYS.root): each.value for each in listing.records}
    return {("unled" if key.startswith("unled/") else key): each for key, each in records.items()}


async def lead(store):
    """Let a manager lead."""
    lease = (await store.grant(60)).lease
    assert await store.create(KEYS.leader, "{}", lease=lease)
    return lease


async def test_everything_is_brought_back_and_the_next_term_is_higher(store):
    """Values as they were, sealed ones included; a note for the audit; nobody is kept down."""
    done, _ = await run(store)

    found = await stored(store)
    assert "mgrd restore" in found.pop("unled")
    assert found == dict(RECORDS)
    assert done.records == 4
    assert done.raised > 80
    lease = (await store.grant(60)).lease
    assert await store.create(KEYS.leader, "{}", lease=lease) > 100


async def test_a_revision_that_was_seen_elsewhere_counts_as_well(store):
    """What the state file of a manager remembers, for instance."""
    done, _ = await run(store, revision_min=500)

    assert done.revision > 500


async def test_a_cluster_that_exists_is_replaced_only_if_asked(store):
    """Nothing is changed otherwise; records that the backup lacks are deleted."""
    await store.commit([Put(KEYS.option("mgr", "b"), "2"), Put("/mgr/other/x", "stays")])

    with pytest.raises(NotPermittedError, match="--replace"):
        await run(store)
    assert await stored(store) == {"config/mgr/b": "2"}

    await run(store, replace=True)
    assert (await stored(store)).keys() == {*dict(RECORDS), "unled"}
    assert (await store.get("/mgr/other/x")).value == "stays"


async def test_managers_that_run_are_a_living_cluster(store):
    """They are named; with ``running`` they wait for the end and keep what is theirs."""
    lease = (await store.grant(60)).lease
    await store.commit([Put(KEYS.manager("a"), "{}", lease)])

    with pytest.raises(NotPermittedError, match=r"run \(a\): stop them"):
        await run(store, replace=True)

    await run(store, running=True)
    assert (await store.get(KEYS.manager("a"))).lease == lease


async def test_an_active_that_does_not_hand_over_ends_it(store):
    """And the managers stay down, so that none leads on half of the data."""
    await lead(store)

    with pytest.raises(StoreUnavailableError, match="still leads"):
        await run(store, running=True)
    assert (await stored(store)).keys() == {"leader", "down", "restore"}


async def test_an_interrupted_restore_is_done_again_by_the_same_command(store):
    """It is known as one; another backup needs to be told."""

    class Broken:
        """A store that fails with the first record of the backup."""

        def __getattr__(self, name):
            return getattr(store, name)

        async def commit(self, operations, **more):
            if any(getattr(each, "key", "") == KEYS.root + "kv/x" for each in operations):
                raise StoreUnavailableError("gone")
            return await store.commit(operations, **more)

    with pytest.raises(StoreUnavailableError):
        await run(Broken())
    assert (await stored(store)).keys() >= {"down", "restore"}

    with pytest.raises(NotPermittedError, match="another file was interrupted"):
        await run(store, backup(sha256="other"))
    await run(store)
    assert (await stored(store)).keys() == {*dict(RECORDS), "unled"}


async def test_a_manager_that_leads_meanwhile_ends_it(store):
    """Each batch is written on condition that nobody leads."""

    class Meddling:
        """A store in which somebody sets the managers up again."""

        def __getattr__(self, name):
            return getattr(store, name)

        async def commit(self, operations, **more):
            if any(isinstance(each, Delete) for each in operations):
                await lead(store)
            return await store.commit(operations, **more)

    await store.commit([Put(KEYS.option("mgr", "b"), "2")])
    with pytest.raises(StoreUnavailableError, match="took leadership meanwhile"):
        await run(Meddling(), replace=True)
    assert (await store.get(KEYS.option("mgr", "b"))).value == "2"


async def test_managers_that_were_down_in_the_backup_stay_down(store):
    """It is data like any other."""
    await run(store, backup([*RECORDS, ("down", "since then")]))

    assert (await store.get(KEYS.down)).value == "since then"


async def test_a_revision_out_of_reach_is_refused_with_what_to_do(store):
    """A billion writes would take days."""
    with pytest.raises(NotPermittedError, match="--bump-revision 1000000000"):
        await run(store, backup(revision=1_000_000_000))
    assert await stored(store) == {}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (backup(cluster="prod"), "cluster 'prod', and --cluster is 'test'"),
        (backup([("leader", "{}")]), "never in one"),
        (backup([("kv/x", "x" * 2_000_000)]), "2000000 bytes"),
        (Backup(backup().header, [("b", ""), ("a", "")], "x"), "out of order"),
        (Backup(backup().header, [("a", ""), ("a", "")], "x"), "out of order"),
    ],
)
async def test_what_cannot_be_restored_is_refused_before_anything_changes(store, found, text):
    """The checks on the way in."""
    with pytest.raises(InvalidArgumentError, match=text):
        await run(store, found)
    assert await stored(store) == {}


def test_what_else_is_needed_is_named():
    """Keys that are never in etcd."""
    lines = restore.needs(RECORDS, KEYS)

    assert ["seal_key_file" in line or "tls_dir" in line for line in lines] == [True, True]
    assert restore.needs([("config/mgr/a", "1")], KEYS) == []


async def test_a_batch_is_small_enough_for_one_transaction(store):
    """Many records, and long ones."""
    many = [(f"kv/{number:04d}", "y" * (number * 40)) for number in range(1000)]

    await run(store, backup(many))

    assert len(await stored(store)) == 1001
    assert (await store.get(KEYS.entry("0999"))).lease == NO_LEASE
