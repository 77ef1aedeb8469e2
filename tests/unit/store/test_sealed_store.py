"""Secrets are sealed on the way into the store and opened on the way out."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from dataclasses import replace

import msgspec
import pytest

from mgr.errors import InvalidSettingError, SealedError, StoreUnavailableError
from mgr.store import sealed_store
from mgr.store.api import Created, Delete, Modified, Put
from mgr.store.fenced import FencedStore
from mgr.store.key_wrapping import CommandKeys, FileKeys
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.mirror import Mirror
from mgr.store.sealed_store import SealedStore
from mgr.store.sealing import MARK, SEALED, DataKey, new_secret
from tests.support.clock import ManualClock

KEYS = Keys("test")
PASSWORD = KEYS.option("mgr", "mgr/web/password")
PLAIN = KEYS.option("mgr", "mgr/web/port")


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "keys"
    path.write_text(line(1))
    path.chmod(0o600)
    return path


def line(number):
    return b64encode(bytes([number]) * 32).decode() + "\n"


class Manager:
    """A store with a mirror on top of it, as a worker has them."""

    def __init__(self, etcd, key_file, **options):
        self.etcd = etcd
        self.store = SealedStore(
            etcd, KEYS, FileKeys(str(key_file)) if key_file else None, **options
        )
        self.store.is_secret = lambda key: key == PASSWORD
        self.mirror = Mirror(self.store, KEYS.root, ManualClock())

    async def make_key(self, name):
        data_key = DataKey(name, new_secret())
        record = msgspec.json.encode(await self.store.wrap(data_key, "now")).decode()
        outcome = await self.etcd.commit([Put(KEYS.seal(name), record)])
        self.store.use(data_key, outcome.revision)

    async def put(self, key, value):
        return await self.store.commit([Put(key, value)])

    async def raw(self, key):
        return (await self.etcd.get(key)).value

    async def shows(self, key, value):
        async with asyncio.timeout(10):
            while (found := self.mirror.get(key)) is None or found.value != value:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def managers(*key_files, **options):
    etcd = MemoryStore(ManualClock())
    made = [Manager(etcd, each, **options) for each in key_files]
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(each.mirror.run()) for each in made]
        yield made
        for each in following:
            each.cancel()


async def test_a_secret_is_sealed_in_the_store_and_plain_for_everybody_above(key_file):
    """Read, listed, followed, by the manager that wrote it and by another one with the key."""
    async with managers(key_file, key_file) as (a, b):
        await a.make_key("k1")
        await a.put(PASSWORD, "hunter2")
        await a.put(PLAIN, "80")

        assert (await a.raw(PASSWORD)).startswith(f"{SEALED}k1:")
        assert "hunter2" not in await a.raw(PASSWORD)
        assert await a.raw(PLAIN) == "80"
        assert (await b.store.get(PASSWORD)).value == "hunter2"
        listed = {r.key: r.value for r in (await b.store.list(KEYS.config)).records}
        assert listed == {PASSWORD: "hunter2", PLAIN: "80"}
        await b.shows(PASSWORD, "hunter2")


async def test_fenced_writes_work_on_sealed_values(key_file):
    """A refused write reads the keys it compares, and finds plain values."""
    async with managers(key_file) as [a]:
        await a.make_key("k1")
        lease = (await a.store.grant(5)).lease
        term = await a.store.create(KEYS.leader, "a", lease=lease)
        fenced = FencedStore(a.store, KEYS, term)
        await fenced.put(PASSWORD, "one")
        await fenced.put(PASSWORD, "two")
        refused = await a.store.commit(
            [Put(PASSWORD, "three")], when=[Created(PASSWORD, 0)], otherwise_get=[PASSWORD]
        )

        assert refused.found[0].value == "two"


async def test_a_sealed_value_belongs_to_its_key(key_file):
    """Copied to another key, or changed, it is refused and not shown."""
    async with managers(key_file) as [a]:
        await a.make_key("k1")
        await a.put(PASSWORD, "hunter2")
        sealed = await a.raw(PASSWORD)
        await a.etcd.commit([Put(PLAIN, sealed)])
        with pytest.raises(StoreUnavailableError, match="belongs to another key"):
            await a.store.get(PLAIN)
        await a.etcd.commit([Put(PASSWORD, sealed[:-8] + "AAAAAAA=")])
        with pytest.raises(StoreUnavailableError, match="was changed"):
            await a.store.get(PASSWORD)


async def test_a_plain_value_that_looks_sealed_stays_what_it_is(key_file):
    """A client may store any text."""
    async with managers(key_file) as [a]:
        for text in (f"{SEALED}k9:abc", f"{MARK}0:x", MARK):
            await a.put(PLAIN, text)

            assert (await a.store.get(PLAIN)).value == text
            await a.shows(PLAIN, text)


async def test_a_manager_without_the_key_waits_and_shows_nothing_wrong(key_file, monkeypatch):
    """Its mirror is not current, so it is no warm standby; with the key it goes on."""
    monkeypatch.setattr(sealed_store, "RETRY_S", 0.01)
    async with managers(key_file) as [a]:
        await a.make_key("k1")
        await a.put(PASSWORD, "hunter2")
        b = Manager(a.etcd, None)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(b.mirror.run())
            await asyncio.sleep(0.05)
            assert b.mirror.get(PASSWORD) is None
            assert not b.mirror.current
            with pytest.raises(StoreUnavailableError, match="set seal_key_file"):
                await b.store.get(PASSWORD)

            b.store._wrapper = FileKeys(str(key_file))
            await b.shows(PASSWORD, "hunter2")
            following.cancel()


async def test_unreadable_values_are_absent_where_that_was_asked_for(key_file):
    """For a cluster whose keys are lost: everything else is there."""
    async with managers(key_file) as [a]:
        await a.make_key("k1")
        await a.put(PASSWORD, "hunter2")
        await a.put(PLAIN, "80")
        b = Manager(a.etcd, None, skip_unreadable=True)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(b.mirror.run())
            await b.shows(PLAIN, "80")
            assert b.mirror.get(PASSWORD) is None
            await b.put(PASSWORD, "new")
            await b.shows(PASSWORD, "new")
            await a.put(PASSWORD, "sealed again")
            async with asyncio.timeout(10):
                while b.mirror.get(PASSWORD) is not None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            following.cancel()


async def test_an_old_value_of_a_deleted_data_key_is_passed_over(key_file):
    """Its key is deleted only when a newer value exists: that one comes next."""
    async with managers(key_file) as [a]:
        await a.make_key("k1")
        await a.put(PASSWORD, "old")
        old = await a.raw(PASSWORD)
        await a.make_key("k2")
        await a.put(PASSWORD, "new")
        await a.etcd.commit([Delete(KEYS.seal("k1"))])
        b = Manager(a.etcd, key_file)
        record = await a.etcd.get(PASSWORD)
        events = [
            await b.store._followed(replace(record, value=each)) for each in (old, record.value)
        ]

        assert events[0] is None
        assert events[1].value == "new"


async def test_no_secret_is_stored_in_plain_text_before_there_is_a_data_key(key_file, monkeypatch):
    """The active makes one when it begins; until then the write fails."""
    monkeypatch.setattr(sealed_store, "FIRST_KEY_S", 0.01)
    async with managers(key_file) as [a]:
        with pytest.raises(StoreUnavailableError, match="first data key"):
            await a.put(PASSWORD, "hunter2")

        assert await a.etcd.get(PASSWORD) is None


async def test_a_new_wrapping_key_may_stand_before_the_old_one(key_file):
    """What the old one wrapped is still opened; new data keys are wrapped by the new one."""
    async with managers(key_file) as [a]:
        await a.make_key("k1")
        await a.put(PASSWORD, "hunter2")
        key_file.write_text(line(2) + line(1))
        b = Manager(a.etcd, key_file)
        assert (await b.store.get(PASSWORD)).value == "hunter2"
        await b.make_key("k2")
        await b.put(PASSWORD, "hunter3")
        key_file.write_text(line(2))
        c = Manager(a.etcd, key_file)

        assert (await c.store.get(PASSWORD)).value == "hunter3"


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("", 0o600, "holds no keys"),
        ("c2hvcnQ=\n", 0o600, "holds no keys"),
        ("not base64!\n", 0o600, "holds no keys"),
        (line(1), 0o644, "may be read by others"),
    ],
)
def test_a_file_that_holds_no_key_or_is_open_to_others_is_refused(tmp_path, text, mode, why):
    """At the start, with the next step in the message."""
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(mode)

    with pytest.raises(InvalidSettingError, match=why):
        FileKeys(str(path))


COMMAND = """#!/bin/sh
read -r line
case $1 in
  wrap) echo "wrapped-$2-$line" ;;
  unwrap) echo "${line#wrapped-$2-}" ;;
  *) exit 9 ;;
esac
"""


async def test_a_command_wraps_and_unwraps(tmp_path):
    """A KMS behind three lines of shell."""
    program = tmp_path / "kms"
    program.write_text(COMMAND)
    program.chmod(0o700)
    secret = new_secret()
    keys = CommandKeys(str(program))

    wrapped = await keys.wrap("k1", secret)

    assert wrapped.startswith("wrapped-k1-")
    assert await keys.unwrap("k1", wrapped) == secret
    with pytest.raises(SealedError, match="not 32 bytes"):
        await keys.unwrap("k1", "wrapped-k1-c2hvcnQ=")


async def test_a_command_that_fails_says_why(tmp_path):
    """Its exit status and its first words."""
    program = tmp_path / "kms"
    program.write_text("#!/bin/sh\necho 'no network' >&2\nexit 3\n")
    program.chmod(0o700)

    with pytest.raises(SealedError, match="exit status 3: no network"):
        await CommandKeys(str(program)).wrap("k1", new_secret())
    with pytest.raises(InvalidSettingError, match="absolute path"):
        CommandKeys("kms")


async def test_writes_compare_revisions_not_ciphertexts(key_file):
    """The same value sealed twice differs in the store; a condition does not see it."""
    async with managers(key_file) as [a]:
        await a.make_key("k1")
        first = await a.put(PASSWORD, "same")
        one = await a.raw(PASSWORD)
        done = await a.store.commit(
            [Put(PASSWORD, "same")], when=[Modified(PASSWORD, first.revision)]
        )

        assert done.succeeded
        assert await a.raw(PASSWORD) != one
