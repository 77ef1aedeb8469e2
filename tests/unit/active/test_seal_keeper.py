"""Data keys are made, rotated and deleted, and nothing stays sealed by an old one."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from types import SimpleNamespace

import pytest

from mgr.active import seal_keeper
from mgr.active.seal_keeper import SealKeeper
from mgr.errors import NotPermittedError
from mgr.store.api import Put
from mgr.store.key_wrapping import FileKeys
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from mgr.store.sealed_store import SealedStore
from mgr.store.sealing import data_key_of
from tests.support.clock import ManualClock
from tests.support.leading import leading

KEYS = Keys("test")


def password(number):
    return KEYS.option("mgr", f"mgr/web{number}/password")


@contextlib.asynccontextmanager
async def keeping(tmp_path, monkeypatch, *, seals=True):
    """An active whose secrets are sealed; ``etcd`` has a few in plain text from before."""
    monkeypatch.setattr(seal_keeper, "PAUSE_S", 0)
    path = tmp_path / "keys"
    path.write_text(b64encode(bytes(32)).decode())
    path.chmod(0o600)
    clock = ManualClock()
    etcd = MemoryStore(clock)
    for number in range(50):
        await etcd.commit([Put(password(number), f"secret {number}")])
    store = SealedStore(etcd, KEYS, FileKeys(str(path)) if seals else None)
    store.is_secret = lambda key: key.endswith("password")
    async with leading(store, clock) as term:
        manager = SimpleNamespace(store=store, keys=KEYS, mirror=term.mirror)
        keeper = SealKeeper(manager, term.fenced)
        term.tasks.create_task(keeper.run())
        yield SimpleNamespace(keeper=keeper, term=term, etcd=etcd, store=store)


async def sealed_by(at):
    """The data keys under which the secrets are in the store; empty: plain text."""
    records = (await at.etcd.list(KEYS.config)).records
    return {data_key_of(record.value) for record in records}


async def until_sealed_by(at, name):
    async with asyncio.timeout(20):
        while await sealed_by(at) != {name}:  # noqa: ASYNC110 - the keeper is at work
            await asyncio.sleep(0.005)


async def test_what_was_plain_is_sealed_when_an_active_has_a_key(tmp_path, monkeypatch):
    """In the background, and readers see no difference."""
    async with keeping(tmp_path, monkeypatch) as at:
        async with asyncio.timeout(20):
            while not at.store.current:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await until_sealed_by(at, at.store.current)

        assert at.term.mirror.get(password(7)).value == "secret 7"
        status = at.keeper.status()
        assert (status.unsealed, status.values) == (0, {at.store.current: 50})


async def test_a_rotation_under_load_loses_no_write_and_ends_the_old_key(tmp_path, monkeypatch):
    """Writers go on while everything is sealed again; then the old data key is deleted."""
    async with keeping(tmp_path, monkeypatch) as at:
        async with asyncio.timeout(20):
            while not at.store.current:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await until_sealed_by(at, first := at.store.current)
        monkeypatch.setattr(seal_keeper, "CHECK_EVERY_S", 0.01)
        written = {}

        async def write():
            for count in range(200):
                key = password(count % 50)
                await at.term.fenced.put(key, f"new {count}")
                written[key] = f"new {count}"

        writing = at.term.tasks.create_task(write())
        second = await at.keeper.rotate()
        await writing
        await until_sealed_by(at, second)
        async with asyncio.timeout(20):
            while await at.etcd.get(KEYS.seal(first)) is not None:
                at.keeper._wake.set()
                await asyncio.sleep(0.005)

        assert {key: at.term.mirror.get(key).value for key in written} == written
        assert (await at.store.get(password(3))).value == written[password(3)]


async def test_nothing_is_rotated_where_nothing_is_sealed(tmp_path, monkeypatch):
    """The refusal names the settings."""
    async with keeping(tmp_path, monkeypatch, seals=False) as at:
        with pytest.raises(NotPermittedError, match="seal_key_file"):
            await at.keeper.rotate()

        assert await sealed_by(at) == {""}
        assert at.keeper.status().unsealed == 50
