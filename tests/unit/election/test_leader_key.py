"""Signing for a term, naming a successor, giving it back."""

from __future__ import annotations

import pytest

from mgr.election.leader_key import TRANSFER_TTL_S, HeartbeatResult, LeaderKey
from mgr.election.records import Leader as LeaderRecord
from mgr.election.records import TermRecord, decode, encode
from mgr.election.timing import UNKNOWN_WINDOW_S
from mgr.errors import OutcomeUnknownError, StoreUnavailableError
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

    async def win(self, name="a", *, read=False):
        """Acquire the free leader key; ``read``: and the term record with it."""
        lease = (await self.store.grant(5)).lease
        term = await self.store.create(KEYS.leader, name, lease=lease)
        found = (await self.store.get(KEYS.term_record),) if read else ()
        return LeaderKey(self.wire, KEYS, name, term, version="1.0", term_record=found)

    async def term_record(self):
        """The record as it stands."""
        return decode((await self.store.get(KEYS.term_record)).value, TermRecord)


class Late:
    """A store whose commits go another way."""

    def __init__(self, inner, commit):
        self.get = inner.get
        self.commit = commit


def leader_record():
    """A leader key's value as ``write_heartbeat_timeout`` expects it."""
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
    leader_key = await scene.win()

    assert await leader_key.open_term_record(WINDOW_S, **ASK) == 0
    assert await scene.term_record() == TermRecord(
        term=leader_key.term, name="a", reason="leading", quiesced=False, window_s=WINDOW_S
    )


async def test_a_certified_end_lets_the_successor_act_at_once(scene):
    """The certificate and the end are one transaction."""
    leader_key = await scene.win("a")
    await leader_key.open_term_record(WINDOW_S, **ASK)

    assert await leader_key.release("reaped", left_s=-1.0, **ASK)

    assert await scene.store.get(KEYS.leader) is None
    assert (await scene.term_record()).quiesced
    assert await (await scene.win("b")).open_term_record(WINDOW_S, **ASK) == 0


async def test_an_end_without_a_word_is_outwaited(scene):
    """The lease ran out, or somebody deleted the key: the record still says leading."""
    leader_key = await scene.win("a")
    await leader_key.open_term_record(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader)])

    assert await (await scene.win("b")).open_term_record(1.0, **ASK) == WINDOW_S


async def test_a_short_term_hands_on_what_it_had_not_outwaited(scene):
    """It died in good order, and says so; the one before it may still act."""
    first = await scene.win("a")
    await first.open_term_record(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader)])
    second = await scene.win("b")
    await second.open_term_record(WINDOW_S, **ASK)

    await second.release("resigned", left_s=4.0, **ASK)

    term_record = await scene.term_record()
    assert (term_record.quiesced, term_record.window_s) == (False, 4.0)
    assert await (await scene.win("c")).open_term_record(WINDOW_S, **ASK) == 4.0


async def test_a_record_that_came_with_the_key_is_not_read_again(scene):
    """One request less between the end of a term and the next one."""
    first = await scene.win("a")
    await first.open_term_record(WINDOW_S, **ASK)
    await first.release("resigned", left_s=4.0, **ASK)
    second = await scene.win("b", read=True)
    scene.wire.get = None  # it must not be called

    assert await second.open_term_record(WINDOW_S, **ASK) == 4.0


async def test_a_record_that_changed_since_it_came_with_the_key_is_read_again(scene):
    """Whoever changed it: it is not overwritten unseen."""
    first = await scene.win("a")
    await first.open_term_record(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader)])
    second = await scene.win("b", read=True)
    longer = TermRecord(term=first.term, name="a", reason="leading", quiesced=False, window_s=9.0)
    await scene.store.commit([Put(KEYS.term_record, encode(longer))])

    with pytest.raises(StoreUnavailableError):
        await second.open_term_record(WINDOW_S, **ASK)

    assert await second.open_term_record(WINDOW_S, **ASK) == 9.0


async def test_a_term_that_never_signed_leaves_the_record_as_it_is(scene):
    """Nothing ran in its name, so what was true before is true after."""
    first = await scene.win("a")
    await first.open_term_record(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader)])
    before = await scene.term_record()

    await (await scene.win("b")).release("reaped", left_s=None, **ASK)

    assert await scene.term_record() == before
    assert await scene.store.get(KEYS.leader) is None


async def test_signing_twice_does_not_take_the_own_record_for_a_predecessors(scene):
    """The first answer was lost; asked again it says the same."""
    leader_key = await scene.win()
    losses = iter([Lost.NOTHING, Lost.NOTHING, Lost.ANSWER, Lost.NOTHING])
    scene.wire.losing = lambda: next(losses)

    with pytest.raises(OutcomeUnknownError):
        await leader_key.open_term_record(WINDOW_S, **ASK)

    assert await leader_key.open_term_record(WINDOW_S, **ASK) == 0


async def test_a_record_that_cannot_be_read_certifies_nothing(scene):
    """Another release's, or somebody's hand: any setting may have been that term's."""
    await scene.store.commit([Put(KEYS.term_record, "?")])

    assert await (await scene.win()).open_term_record(WINDOW_S, **ASK) == UNKNOWN_WINDOW_S


async def test_a_record_that_was_removed_certifies_nothing(scene):
    """A manager has led here, so something may act: only the first term ever waits for nobody."""
    leader_key = await scene.win("a")
    await leader_key.open_term_record(WINDOW_S, **ASK)
    await scene.store.commit([Delete(KEYS.leader), Delete(KEYS.term_record)])

    assert await (await scene.win("b")).open_term_record(WINDOW_S, **ASK) == UNKNOWN_WINDOW_S


async def test_signing_that_is_held_up_does_not_undo_a_longer_window(scene):
    """A successor would wait too short: the first attempt arrives after the window grew."""
    leader_key = await scene.win("a")
    held = []
    commit = scene.store.commit

    async def late(operations, **more):
        if not held:
            held.append((operations, more))
            raise OutcomeUnknownError("held up on its way")
        return await commit(operations, **more)

    leader_key._store = Late(scene.store, late)
    with pytest.raises(OutcomeUnknownError):
        await leader_key.open_term_record(WINDOW_S, **ASK)
    await leader_key.open_term_record(WINDOW_S, **ASK)
    leader = encode(leader_record())
    await scene.store.commit([Put(KEYS.leader, leader, (await scene.store.get(KEYS.leader)).lease)])
    assert await leader_key.write_heartbeat_timeout(9.0, 9.5, **ASK)
    operations, more = held[0]

    await commit(operations, **more)

    assert (await scene.term_record()).window_s == 9.5


async def test_copies_of_one_process_do_not_both_keep_a_term(scene):
    """A machine resumed twice from one snapshot: one lease, one term, one memory."""
    leader_key = await scene.win("a")
    assert await leader_key.send_heartbeat(**ASK) is HeartbeatResult.CONFIRMED
    copy = LeaderKey(scene.wire, KEYS, "a", leader_key.term, version="1.0")
    copy._last_heartbeat = leader_key._last_heartbeat

    assert await leader_key.send_heartbeat(**ASK) is HeartbeatResult.CONFIRMED
    assert await copy.send_heartbeat(**ASK) is HeartbeatResult.SHARED


async def test_a_heartbeat_whose_answer_was_lost_is_its_own(scene):
    """It is found by its value, and the next one follows at once."""
    leader_key = await scene.win("a")
    await leader_key.send_heartbeat(**ASK)
    losses = iter([Lost.ANSWER])
    scene.wire.losing = lambda: next(losses, Lost.NOTHING)
    with pytest.raises(OutcomeUnknownError):
        await leader_key.send_heartbeat(**ASK)

    assert await leader_key.send_heartbeat(**ASK) is HeartbeatResult.CONFIRMED
    await scene.store.commit([Delete(KEYS.leader)])
    assert await leader_key.send_heartbeat(**ASK) is HeartbeatResult.LOST


async def test_a_first_heartbeat_that_comes_through_late_is_its_own(scene):
    """It compared nothing, so it may land over the next one."""
    leader_key = await scene.win("a")
    sent = []
    commit = scene.store.commit

    async def late(operations, **more):
        if not sent:
            sent.append((operations, more))
            raise OutcomeUnknownError("held up on its way")
        return await commit(operations, **more)

    leader_key._store = Late(scene.store, late)
    with pytest.raises(OutcomeUnknownError):
        await leader_key.send_heartbeat(**ASK)
    assert await leader_key.send_heartbeat(**ASK) is HeartbeatResult.CONFIRMED
    operations, more = sent[0]
    await commit(operations, **more)

    assert await leader_key.send_heartbeat(**ASK) is HeartbeatResult.CONFIRMED


async def test_a_window_that_nobody_can_be_set_to_is_not_waited_for(scene):
    """Somebody wrote it by hand: it would be handed on for ever."""
    term_record = TermRecord(term=1, name="a", reason="leading", quiesced=False, window_s=1e9)
    await scene.store.commit([Put(KEYS.term_record, encode(term_record))])

    assert await (await scene.win()).open_term_record(WINDOW_S, **ASK) == UNKNOWN_WINDOW_S


async def test_a_leader_key_without_its_lease_is_given_it_again(scene):
    """Overwritten by hand, it would outlive its manager."""
    leader_key = await scene.win("a")
    lease = (await scene.store.get(KEYS.leader)).lease
    await scene.store.commit([Put(KEYS.leader, "by hand")])
    found = await scene.store.get(KEYS.leader)

    await leader_key.repair("a", lease, found, **ASK)

    record = await scene.store.get(KEYS.leader)
    assert (record.value, record.lease, record.create_revision) == ("a", lease, leader_key.term)


async def test_a_term_that_is_over_can_write_nothing(scene):
    """Each action compares the key's create revision in its own transaction."""
    old = await scene.win("a")
    await scene.store.commit([Delete(KEYS.leader)])
    new = await scene.win("b")
    await new.open_term_record(WINDOW_S, **ASK)
    stands = await scene.term_record()

    assert await old.open_term_record(WINDOW_S, **ASK) is None
    assert not await old.release("reaped", left_s=0.0, **ASK)
    await old.nominate("c", **ASK)

    assert (await scene.store.get(KEYS.leader)).value == "b"
    assert await scene.term_record() == stands
    assert await scene.store.get(KEYS.transfer) is None


async def test_a_lost_answer_to_the_release_is_asked_again(scene):
    """The second time the key is not ours any more, and the certificate stands."""
    leader_key = await scene.win()
    await leader_key.open_term_record(WINDOW_S, **ASK)
    losses = iter([Lost.ANSWER, Lost.NOTHING])
    scene.wire.losing = lambda: next(losses)

    with pytest.raises(OutcomeUnknownError):
        await leader_key.release("resigned", left_s=0.0, **ASK)

    assert not await leader_key.release("resigned", left_s=0.0, **ASK)
    assert (await scene.term_record()).quiesced


async def test_the_wish_for_a_successor_does_not_stand_for_ever(scene):
    """Ten seconds, then anybody is as good."""
    leader_key = await scene.win()

    await leader_key.nominate("b", **ASK)

    assert (await scene.store.get(KEYS.transfer)).value == "b"
    scene.clock.advance(TRANSFER_TTL_S + 1)
    assert await scene.store.get(KEYS.transfer) is None
