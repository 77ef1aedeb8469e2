"""A module's database in the store: all of a commit or nothing, and never a late one."""

import asyncio
import os
import random

import msgspec
import pytest

from mgr.active.modules import database
from mgr.active.modules.database import IMAGE_BYTES_MAX, PAGE_BYTES, STORED_BYTES_MAX, Database
from mgr.errors import (
    ConflictError,
    FencedError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TooLargeError,
)
from mgr.store.api import Delete, Put
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.lossy import LossyStore, Lost

KEYS = Keys("c")
HEAD = KEYS.database_head("m")


def image_of(pages, seed=0):
    """So many pages that do not compress."""
    return random.Random(seed).randbytes(pages * PAGE_BYTES)


class Terms:
    """A store, and one manager after the other that leads on it."""

    def __init__(self):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.cable = LossyStore(self.store)

    async def lead(self, name):
        """Begin a term; the module's database as this manager reaches it."""
        self.clock.advance(60)
        lease = (await self.store.grant(5)).lease
        term = await self.store.create(KEYS.leader, name, lease=lease)
        self.fenced = FencedStore(self.cable, KEYS, term)
        return self.instance()

    def instance(self):
        """Another instance of the module, in the same term."""
        return Database(self.fenced, self.cable, KEYS, "m")

    async def pages(self):
        """The names of all pages that stand in the store."""
        prefix = KEYS.database_page("m", "")
        return {record.key for record in (await self.store.list(prefix)).records}


@pytest.fixture
def terms():
    return Terms()


async def write_image(db, image):
    await db.write(db.change(image))


@pytest.mark.parametrize("pages", [0, 1, 3, 40])
async def test_what_was_kept_is_loaded_by_the_next_active(terms, pages):
    """Whether it takes one transaction or several."""
    first = await terms.lead("a")
    assert await first.load() == b""
    image = image_of(pages)
    await write_image(first, image)

    assert await (await terms.lead("b")).load() == image


async def test_only_pages_that_changed_are_written(terms):
    """And those that they replace are removed with the same transaction."""
    db = await terms.lead("a")
    await db.load()
    image = bytearray(image_of(10))
    await write_image(db, bytes(image))
    before = await terms.pages()

    image[3 * PAGE_BYTES] ^= 1
    change = db.change(bytes(image))
    await db.write(change)

    assert len(change.pages) == 1
    assert len(await terms.pages() & before) == 9
    assert len(await terms.pages()) == 10
    assert await db.load() == bytes(image)


async def test_a_smaller_database_leaves_nothing_behind(terms):
    """Pages that no head names are removed, however many."""
    db = await terms.lead("a")
    await db.load()
    await write_image(db, b"\0" * (300 * PAGE_BYTES))
    for number in range(4):
        await write_image(db, image_of(1, seed=number))

    assert len(await terms.pages()) == 1


async def test_a_late_commit_of_an_old_term_lands_never(terms):
    """Whether its first pages were written before or not: the head is the new active's."""
    old = await terms.lead("a")
    await old.load()
    await write_image(old, b"old" * 100_000)
    late = old.change(image_of(40))

    new = await terms.lead("b")
    assert await new.load() == b"old" * 100_000
    with pytest.raises(FencedError):
        await old.write(late)
    await write_image(new, b"new")

    assert await new.load() == b"new"
    assert len(await terms.pages()) == 1


async def test_an_abandoned_instance_cannot_overwrite_its_successor(terms):
    """Within one term: a module that did not stop in time, and the instance after it."""
    abandoned = await terms.lead("a")
    await abandoned.load()
    await write_image(abandoned, b"1")
    instance = terms.instance()
    assert await instance.load() == b"1"
    await write_image(instance, b"2")

    with pytest.raises(ConflictError, match="another instance"):
        await write_image(abandoned, b"3")

    assert await instance.load() == b"2"


@pytest.mark.parametrize("cut_at", range(6))
async def test_a_commit_that_is_cut_off_anywhere_changes_nothing(terms, cut_at):
    """The active dies in the middle of it; what it left is removed by the next commit."""
    old = await terms.lead("a")
    await old.load()
    await write_image(old, image_of(3))
    asked = []

    def cut():
        asked.append(1)
        return Lost.NOTHING if len(asked) <= cut_at else Lost.REFUSED

    change = old.change(image_of(40, seed=1))
    terms.cable.losing = cut
    with pytest.raises(StoreUnavailableError):
        await old.write(change)
    terms.cable.losing = lambda: Lost.NOTHING

    new = await terms.lead("b")
    assert await new.load() == image_of(3)
    await write_image(new, image_of(1, seed=2))
    assert len(await terms.pages()) == 1


async def test_an_unclear_commit_is_found_out_by_loading(terms, monkeypatch):
    """It was done, and its answer was lost until the time was up."""
    monkeypatch.setattr("mgr.store.fenced.TIMEOUT_S", 0.2)
    db = await terms.lead("a")
    await db.load()
    change = db.change(b"1")
    commits = []

    def lost():
        commits.append(1)
        return Lost.ANSWER

    terms.cable.losing = lost
    with pytest.raises((OutcomeUnknownError, StoreUnavailableError)):
        await db.write(change)
    terms.cable.losing = lambda: Lost.NOTHING

    known = await db.load()
    await write_image(db, known + b"2")
    assert await db.load() == known + b"2"


async def test_above_a_limit_nothing_is_sent_and_nothing_is_lost(terms, monkeypatch):
    """There are two: of the database as it is, and of what stands in etcd."""
    db = await terms.lead("a")
    await db.load()
    await write_image(db, b"1")
    revision = (await terms.store.status()).revision

    with pytest.raises(TooLargeError, match=str(IMAGE_BYTES_MAX)):
        await asyncio.to_thread(db.change, b"\0" * (IMAGE_BYTES_MAX + 1))
    with pytest.raises(TooLargeError, match=f"compressed; the limit is {STORED_BYTES_MAX}"):
        # As in the product: compressing megabytes is no work for the loop.
        await asyncio.to_thread(db.change, os.urandom(STORED_BYTES_MAX))

    assert (await terms.store.status()).revision == revision
    assert await db.load() == b"1"
    await write_image(db, b"2")
    assert await db.load() == b"2"


@pytest.mark.parametrize("damage", ["missing", "changed", "head"])
async def test_what_is_damaged_is_not_read_as_something_else(terms, damage):
    """Somebody was at it by hand: the text says which page; nothing is overwritten."""
    db = await terms.lead("a")
    await db.load()
    await write_image(db, image_of(2))
    page = min(await terms.pages())
    harm = {
        "missing": Delete(page),
        "changed": Put(page, "eJwDAAAAAAE="),
        "head": Put(HEAD, "[]"),
    }[damage]
    await terms.store.commit([harm])

    with pytest.raises(ValueError, match=r"missing|damaged|cannot be read"):
        await db.load()


async def test_pages_are_of_sqlites_own_size():
    """Otherwise each changed page of the database would rewrite two pieces."""
    from mgr.module_api.parts import sqlite

    assert PAGE_BYTES == sqlite.PAGE_BYTES
    assert IMAGE_BYTES_MAX == sqlite.IMAGE_BYTES_MAX


def test_a_head_of_the_largest_database_is_small():
    """It is written with every commit."""
    page = database.DatabasePage("123456789.01234567.12345.511", "0" * 32, 87_388)
    head = database.Head(IMAGE_BYTES_MAX, [page] * (IMAGE_BYTES_MAX // PAGE_BYTES))

    assert len(msgspec.json.encode(head)) < 50_000
