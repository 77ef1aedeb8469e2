"""Writes under a condition, where the manager's own copy of the store is behind."""

import asyncio

import pytest

from mgr.active.modules.compare_and_set import commit_if
from mgr.errors import ConflictError, FencedError
from mgr.store.api import Put
from mgr.store.fenced import FencedStore
from mgr.store.mirror import Mirror
from tests.support.leading import leading

KEY = "/mgr/test/kv/mgr/probe/k"


class Late:
    """A copy of the store that stands still until it is waited for."""

    prefix = "none: whoever writes reads the store"

    def __init__(self, held):
        self._held = held
        self._mirror = Mirror(held.store, held.keys.root, held.clock)
        self._seen = held.mirror.get(KEY)
        self.waits = 0

    def get(self, key):
        return self._seen

    def note_own(self, records, deleted, revision):
        """It stands still."""

    async def wait_for_revision(self, revision, timeout_s):
        self.waits += 1
        self._seen = await self._held.store.get(KEY)


async def test_a_value_that_changed_behind_the_copy_is_not_overwritten():
    """The store compares what the copy could not know of."""
    async with leading() as held:
        await held.fenced.put(KEY, "old")
        late = Late(held)
        await held.store.commit([Put(KEY, "theirs")])

        done = await attempt(held, late, "old")

        assert not done
        assert late.waits == 1
        assert (await held.store.get(KEY)).value == "theirs"


async def test_a_value_that_was_rewritten_as_it_was_still_counts_as_expected():
    """Values are compared; that it changed in between is nobody's business."""
    async with leading() as held:
        await held.fenced.put(KEY, "old")
        late = Late(held)
        await held.store.commit([Put(KEY, "old")])

        assert await attempt(held, late, "old")
        assert (await held.store.get(KEY)).value == "new"


async def test_an_entry_that_is_rewritten_all_the_time_is_a_conflict():
    """It ends: somebody writes beside the active, and is told of."""
    async with leading() as held:
        await held.fenced.put(KEY, "old")
        late = Late(held)

        class Busy(Late):
            async def wait_for_revision(self, revision, timeout_s):
                await super().wait_for_revision(revision, timeout_s)
                await held.store.commit([Put(KEY, "old")])

        late = Busy(held)
        await held.store.commit([Put(KEY, "old")])

        with pytest.raises(ConflictError, match="changed by somebody else"):
            await attempt(held, late, "old")


async def test_nothing_but_a_condition_is_judged_by_the_store():
    """A transaction without changes asks whether all of it stands at once."""
    async with leading() as held:
        await held.fenced.put(KEY, "old")

        assert await commit_if([], {KEY: "old"}, **reach(held, held.mirror))
        assert not await commit_if([], {KEY: "other"}, **reach(held, held.mirror))


async def test_an_overtaken_manager_hears_of_it_whatever_it_expects():
    """Nothing is written."""
    async with leading() as held:
        await held.fenced.put(KEY, "old")
        late = Late(held)
        await held.depose()

        with pytest.raises(FencedError):
            await attempt(held, late, "old")

        assert (await held.store.get(KEY)).value == "old"


async def attempt(held, mirror, expected):
    async with asyncio.timeout(5):
        return await commit_if([Put(KEY, "new")], {KEY: expected}, **reach(held, mirror))


def reach(held, mirror):
    return {
        "fenced": FencedStore(held.store, held.keys, held.term, mirror=mirror),
        "mirror": mirror,
    }
