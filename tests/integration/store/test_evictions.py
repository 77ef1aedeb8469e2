"""The journal's largest transaction, on a real etcd."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from mgr.clock import CLOCK
from mgr.command.answer import Answer
from mgr.command.journal import EVICTED_AT_ONCE, NO_ATTEMPT, Journal
from mgr.command.request import DIGEST_FORM
from mgr.errors import MayHaveRunError
from mgr.store.fenced import FencedStore
from mgr.store.keys import Keys
from mgr.store.mirror import Mirror

pytestmark = pytest.mark.etcd

DIGEST = f"{DIGEST_FORM}1"


async def test_a_hundred_results_are_evicted_in_one_transaction(connect, etcd, monkeypatch):
    """Etcd takes it, proofs included; each of their ids is refused by this term and the next."""
    monkeypatch.setattr("mgr.command.journal.ENTRIES_MAX", EVICTED_AT_ONCE)
    store, keys = connect(etcd.endpoints), Keys(f"t{uuid.uuid4().hex[:8]}")
    mirrors = [Mirror(store, keys.root, CLOCK) for _ in "ab"]
    lease = (await store.grant(30)).lease
    term = await store.create(keys.leader, "a", lease=lease)
    fenced = FencedStore(store, keys, term, mirror=mirrors[0])
    book, later = (
        Journal(fenced, keys, mirror, store, term=term, clock=CLOCK) for mirror in mirrors
    )

    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(mirror.run()) for mirror in mirrors]
        await mirrors[0].wait_for_revision(term, 5)
        for number in range(EVICTED_AT_ONCE + 1):
            name = f"r{number}"
            assert await book.begin(name, DIGEST, idempotent=False) == NO_ATTEMPT
            assert await book.finish(name, DIGEST, Answer(0, name))
        await mirrors[1].wait_for_revision(
            mirrors[0].list(keys.evicted).popitem()[1].mod_revision, 5
        )
        for number in range(EVICTED_AT_ONCE):
            for each in (book, later):
                with pytest.raises(MayHaveRunError):
                    each.earlier_attempts(f"r{number}", DIGEST)
        left = mirrors[1].list(keys.requests)
        for each in following:
            each.cancel()
    await store.revoke(lease)

    assert list(left) == [keys.request(f"r{EVICTED_AT_ONCE}")]
