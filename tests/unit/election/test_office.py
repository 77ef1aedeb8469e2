"""Signing for a term, naming a successor, giving it back."""

from __future__ import annotations

import pytest

from mgr.election.leader import Fence, decode
from mgr.election.office import TRANSFER_TTL_S, Office
from mgr.errors import OutcomeUnknownError
from mgr.store.api import Delete, Put
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.lossy import LossyStore, Lost

KEYS = Keys("c")
WINDOW_S = 5.05
ASK = {"timeout_s": 1.0}


class Scene:
    """A store, and whoever leads in it."""

    def __init__(self):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.wire = LossyStore(self.store)

    async def win(self, name="a"):
        """Take the empty office."""
        lease = (await self.store.grant(5)).lease
        term = await self.store.create(KEYS.leader, name, lease=lease)
        return Office(self.wire, KEYS, name, term, release="1.0")

    async def fence(self):
        """The record as it stands."""
        return decode((await self.store.get(KEYS.fence)).value, Fence)


@pytest.fixture
def scene():
    return Scene()


async def test_the_first_term_waits_for_nobody(scene):
    """There was no term before it."""
    office = await scene.win()

    assert await office.sign(WINDOW_S, **ASK) == 0
    assert await scene.fence() == Fence(
        term=office.term, name="a", reason="leading", quiesced=False, window_s=WINDOW_S
    )


async def test_a_certified_end_lets_the_successor_act_at_once(scene):
    """The certificate and the end are one transaction."""
    office = await scene.win("a")
    await office.sign(WINDOW_S, **ASK)

    assert await office.release("reaped", left_s=-1.0, **ASK)

    assert await scene.store.get(KEYS.leader) is None
    assert (await scene.fence()).quiesced
    assert await (await scene.win("b")).sign(WINDOW_S, **ASK) == 0


async def test_an_end_without_a_word_is_outwaited(scene):
    """The lease ran out, or somebody deleted the key: the record still says leading."""
    office = await scene.win("a")
    await office.sign(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader)])

    assert await (await scene.win("b")).sign(1.0, **ASK) == WINDOW_S


async def test_a_short_term_hands_on_what_it_had_not_outwaited(scene):
    """It died in good order, and says so; the one before it may still act."""
    first = await scene.win("a")
    await first.sign(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader)])
    second = await scene.win("b")
    await second.sign(WINDOW_S, **ASK)

    await second.release("resigned", left_s=4.0, **ASK)

    fence = await scene.fence()
    assert (fence.quiesced, fence.window_s) == (False, 4.0)
    assert await (await scene.win("c")).sign(WINDOW_S, **ASK) == 4.0


async def test_a_term_that_never_signed_leaves_the_record_as_it_is(scene):
    """Nothing ran in its name, so what was true before is true after."""
    first = await scene.win("a")
    await first.sign(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader)])
    before = await scene.fence()

    await (await scene.win("b")).release("reaped", left_s=None, **ASK)

    assert await scene.fence() == before
    assert await scene.store.get(KEYS.leader) is None


async def test_signing_twice_does_not_take_the_own_record_for_a_predecessors(scene):
    """The first answer was lost; asked again it says the same."""
    office = await scene.win()
    losses = iter([Lost.NOTHING, Lost.ANSWER, Lost.NOTHING])
    scene.wire.losing = lambda: next(losses)

    with pytest.raises(OutcomeUnknownError):
        await office.sign(WINDOW_S, **ASK)

    assert await office.sign(WINDOW_S, **ASK) == 0


async def test_a_record_that_cannot_be_read_certifies_nothing(scene):
    """Another release's, or somebody's hand."""
    await scene.store.commit([Put(KEYS.fence, "?")])

    assert await (await scene.win()).sign(WINDOW_S, **ASK) == WINDOW_S


async def test_an_office_that_is_over_can_do_nothing(scene):
    """Each deed compares the key's create revision in its own transaction."""
    old = await scene.win("a")
    await scene.store.commit([Delete(KEYS.leader)])
    new = await scene.win("b")
    await new.sign(WINDOW_S, **ASK)
    stands = await scene.fence()

    assert await old.sign(WINDOW_S, **ASK) is None
    assert not await old.release("reaped", left_s=0.0, **ASK)
    await old.nominate("c", **ASK)

    assert (await scene.store.get(KEYS.leader)).value == "b"
    assert await scene.fence() == stands
    assert await scene.store.get(KEYS.transfer) is None


async def test_a_lost_answer_to_the_release_is_asked_again(scene):
    """The second time the key is not ours any more, and the certificate stands."""
    office = await scene.win()
    await office.sign(WINDOW_S, **ASK)
    losses = iter([Lost.ANSWER, Lost.NOTHING])
    scene.wire.losing = lambda: next(losses)

    with pytest.raises(OutcomeUnknownError):
        await office.release("resigned", left_s=0.0, **ASK)

    assert not await office.release("resigned", left_s=0.0, **ASK)
    assert (await scene.fence()).quiesced


async def test_the_wish_for_a_successor_does_not_stand_for_ever(scene):
    """Ten seconds, then anybody is as good."""
    office = await scene.win()

    await office.nominate("b", **ASK)

    assert (await scene.store.get(KEYS.transfer)).value == "b"
    scene.clock.advance(TRANSFER_TTL_S + 1)
    assert await scene.store.get(KEYS.transfer) is None
