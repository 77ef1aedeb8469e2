"""Signing for a term, naming a successor, giving it back."""

from __future__ import annotations

import pytest

from mgr.election.leader_key import TRANSFER_TTL_S, Beat, Office
from mgr.election.records import Fence, decode, encode
from mgr.election.records import Leader as LeaderRecord
from mgr.election.timing import UNKNOWN_WINDOW_S
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


class Late:
    """A store whose commits go another way."""

    def __init__(self, inner, commit):
        self.get = inner.get
        self.commit = commit


def leader_record():
    """A leader key's value as ``adapt`` expects it."""
    return LeaderRecord(
        name="a",
        incarnation="i",
        grpc_address="",
        http_address="",
        version="1",
        since="",
        lease_ttl_s=5,
    )


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
    losses = iter([Lost.NOTHING, Lost.NOTHING, Lost.ANSWER, Lost.NOTHING])
    scene.wire.losing = lambda: next(losses)

    with pytest.raises(OutcomeUnknownError):
        await office.sign(WINDOW_S, **ASK)

    assert await office.sign(WINDOW_S, **ASK) == 0


async def test_a_record_that_cannot_be_read_certifies_nothing(scene):
    """Another release's, or somebody's hand: any setting may have been that term's."""
    await scene.store.commit([Put(KEYS.fence, "?")])

    assert await (await scene.win()).sign(WINDOW_S, **ASK) == UNKNOWN_WINDOW_S


async def test_a_record_that_was_removed_certifies_nothing(scene):
    """A manager has led here, so something may act: only the first term ever waits for nobody."""
    office = await scene.win("a")
    await office.sign(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader), Delete(KEYS.fence)])

    assert await (await scene.win("b")).sign(WINDOW_S, **ASK) == UNKNOWN_WINDOW_S


async def test_signing_that_is_held_up_does_not_undo_a_longer_window(scene):
    """A successor would wait too short: the first attempt arrives after the window grew."""
    office = await scene.win("a")
    held = []
    commit = scene.store.commit

    async def late(operations, **more):
        if not held:
            held.append((operations, more))
            raise OutcomeUnknownError("held up on its way")
        return await commit(operations, **more)

    office._store = Late(scene.store, late)
    with pytest.raises(OutcomeUnknownError):
        await office.sign(WINDOW_S, **ASK)
    await office.sign(WINDOW_S, **ASK)
    leader = encode(leader_record())
    await scene.store.commit([Put(KEYS.leader, leader, (await scene.store.get(KEYS.leader)).lease)])
    assert await office.adapt(9.0, 9.5, **ASK)
    operations, more = held[0]

    await commit(operations, **more)

    assert (await scene.fence()).window_s == 9.5


async def test_copies_of_one_process_do_not_both_keep_a_term(scene):
    """A machine resumed twice from one snapshot: one lease, one term, one memory."""
    office = await scene.win("a")
    assert await office.beat(**ASK) is Beat.HELD
    copy = Office(scene.wire, KEYS, "a", office.term, release="1.0")
    copy._pulse = office._pulse

    assert await office.beat(**ASK) is Beat.HELD
    assert await copy.beat(**ASK) is Beat.SHARED


async def test_a_heartbeat_whose_answer_was_lost_is_its_own(scene):
    """It is found by its value, and the next one follows at once."""
    office = await scene.win("a")
    await office.beat(**ASK)
    losses = iter([Lost.ANSWER])
    scene.wire.losing = lambda: next(losses, Lost.NOTHING)
    with pytest.raises(OutcomeUnknownError):
        await office.beat(**ASK)

    assert await office.beat(**ASK) is Beat.HELD
    await scene.store.commit([Delete(KEYS.leader)])
    assert await office.beat(**ASK) is Beat.LOST


async def test_a_first_heartbeat_that_comes_through_late_is_its_own(scene):
    """It compared nothing, so it may land over the next one."""
    office = await scene.win("a")
    sent = []
    commit = scene.store.commit

    async def late(operations, **more):
        if not sent:
            sent.append((operations, more))
            raise OutcomeUnknownError("held up on its way")
        return await commit(operations, **more)

    office._store = Late(scene.store, late)
    with pytest.raises(OutcomeUnknownError):
        await office.beat(**ASK)
    assert await office.beat(**ASK) is Beat.HELD
    operations, more = sent[0]
    await commit(operations, **more)

    assert await office.beat(**ASK) is Beat.HELD


async def test_a_window_that_nobody_can_be_set_to_is_not_waited_for(scene):
    """Somebody wrote it by hand: it would be handed on for ever."""
    fence = Fence(term=1, name="a", reason="leading", quiesced=False, window_s=1e9)
    await scene.store.commit([Put(KEYS.fence, encode(fence))])

    assert await (await scene.win()).sign(WINDOW_S, **ASK) == UNKNOWN_WINDOW_S


async def test_a_leader_key_without_its_lease_is_given_it_again(scene):
    """Overwritten by hand, it would outlive its manager."""
    office = await scene.win("a")
    lease = (await scene.store.get(KEYS.leader)).lease
    await scene.store.commit([Put(KEYS.leader, "by hand")])
    found = await scene.store.get(KEYS.leader)

    await office.repair("a", lease, found, **ASK)

    record = await scene.store.get(KEYS.leader)
    assert (record.value, record.lease, record.create_revision) == ("a", lease, office.term)


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
