"""Commands that remove what does not seem to be there: a put may still be on its way."""

import pytest

from mgr.errors import OutcomeUnknownError
from tests.support.desk import desk
from tests.support.late_store import LateStore, Way


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("config-key", "rm", "k"), "kv/k"),
        (("health", "unmute", "K"), "mutes/K"),
        (("health", "unmute"), "mutes/K"),
        (("auth", "rm", "k"), "access/k"),
    ],
)
async def test_a_removal_holds_against_a_put_that_arrives_after_it(words, key):
    """Nobody knows of the key when it is removed; the put of it arrives afterwards."""
    async with desk() as at:
        key = at.office.keys.root + key
        late = LateStore(at.office.store, [Way.HELD, Way.LOST_BEFORE, Way.LOST_BEFORE])
        at.office.fenced._store = late
        with pytest.raises(OutcomeUnknownError):
            await at.office.fenced.put(key, "x", timeout_s=0.01)
        late.ways = []

        await at.run(*words)
        while late.held:
            await late.arrive()

        assert await at.office.store.get(key) is None


async def test_every_mute_goes_in_one_transaction():
    """One by one, a store that falls silent in between would leave some of them standing."""
    async with desk() as at:
        for code in ("A", "B", "C"):
            await at.run("health", "mute", code, "--sticky")
        late = at.office.fenced._store = LateStore(at.office.store)

        await at.run("health", "unmute")

        assert late.sent == 1
        assert not at.board.mutes
        assert not (await at.office.store.list(at.office.keys.mutes)).records
