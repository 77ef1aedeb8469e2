"""Writes under a condition, where the manager's own copy of the store is behind."""

import asyncio

import pytest

from mgr.active.modules.compare_and_set import compare_and_set
from mgr.errors import ConflictError, FencedError
from mgr.store.api import Put
from mgr.store.fenced import FencedStore
from mgr.store.mirror import Mirror
from tests.support.leading import leading

KEY = "/mgr/test/kv/mgr/probe/k"


class Late:
    """A copy of the store that stands still until it is waited for."""

    prefix = "none: whoever writes reads the store"

    def __init__(self, term):
        self._term = term
        self._mirror = Mirror(term.store, term.keys.root, term.clock)
        self._seen = term.mirror.get(KEY)
        self.waits = 0

    def get(self, key):
        return self._seen

    def note_own(self, records, deleted, revision):
        """It stands still."""

    async def wait_for_revision(self, revision, timeout_s):
        self.waits += 1
        self._seen = await self._term.store.get(KEY)


async def test_a_value_that_changed_behind_the_copy_is_not_overwritten():
    """The store compares what the copy could not know of."""
    async with leading() as term:
        await term.fenced.put(KEY, "old")
        late = Late(term)
        await term.store.commit([Put(KEY, "theirs")])

        done = await attempt(term, late, "old")

        assert not done
        assert late.waits == 1
        assert (await term.store.get(KEY)).value == "theirs"


async def test_a_value_that_was_rewritten_as_it_was_still_counts_as_expected():
    """Values are compared; that it changed in between is nobody's business."""
    async with leading() as term:
        await term.fenced.put(KEY, "old")
        late = Late(term)
        await term.store.commit([Put(KEY, "old")])

        assert await attempt(term, late, "old")
        assert (await term.store.get(KEY)).value == "new"


async def test_an_entry_that_is_rewritten_all_the_time_is_a_conflict():
    """It ends: somebody writes beside the active, and is told of."""
    async with leading() as term:
        await term.fenced.put(KEY, "old")
        late = Late(term)

        class Busy(Late):
            async def wait_for_revision(self, revision, timeout_s):
                await super().wait_for_revision(revision, timeout_s)
                await term.store.commit([Put(KEY, "old")])

        late = Busy(term)
        await term.store.commit([Put(KEY, "old")])

        with pytest.raises(ConflictError, match="changed by somebody else"):
            await attempt(term, late, "old")


async def test_nothing_but_a_condition_is_judged_by_the_store():
    """A transaction without changes asks whether all of it stands at once."""
    async with leading() as term:
        await term.fenced.put(KEY, "old")

        assert await compare_and_set([], {KEY: "old"}, **stores(term, term.mirror))
        assert not await compare_and_set([], {KEY: "other"}, **stores(term, term.mirror))


async def test_an_overtaken_manager_hears_of_it_whatever_it_expects():
    """Nothing is written."""
    async with leading() as term:
        await term.fenced.put(KEY, "old")
        late = Late(term)
        await term.depose()

        with pytest.raises(FencedError):
            await attempt(term, late, "old")

        assert (await term.store.get(KEY)).value == "old"


async def attempt(term, mirror, expected):
    async with asyncio.timeout(5):
        return await compare_and_set([Put(KEY, "new")], {KEY: expected}, **stores(term, mirror))


def stores(term, mirror):
    return {
        "fenced": FencedStore(term.store, term.keys, term.term, mirror=mirror),
        "mirror": mirror,
    }
