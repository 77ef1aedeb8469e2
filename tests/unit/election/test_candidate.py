"""One tick of a candidate."""

from __future__ import annotations

import random

import pytest

from mgr.election.candidate import Candidate, WatchedKey
from mgr.election.timing import Timing
from mgr.errors import LeaseExpiredError, StoreUnavailableError
from mgr.store.api import Changed, Current, Delete, Interrupted, LeaseId, Listed, Put, Record
from mgr.store.keys import Keys
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.lossy import LossyStore, Lost

KEYS = Keys("c")
TIMING = Timing.of_lease(5)


class Scene:
    """A candidate, the store, and what its feeds would show now."""

    def __init__(self, name="a"):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.wire = LossyStore(self.store)
        self.candidate = Candidate(self.wire, KEYS, self.clock, name, random.Random(1))

    async def poll(self):
        """Bring the candidate's feeds up to date."""
        for watched_key in (
            self.candidate.leader,
            self.candidate.transfer,
            self.candidate.down,
            self.candidate.version,
            self.candidate.protection,
        ):
            listing = await self.store.list(watched_key.key)
            watched_key.apply(Listed(listing.records, listing.revision), self.clock.now())

    async def campaign(self, value="me"):
        """Campaign on a fresh lease; the term and the lease."""
        lease = (await self.store.grant(5)).lease
        acquired = await self.candidate.campaign(value, lease, TIMING)
        return acquired and acquired.term, lease

    async def somebody_leads(self):
        """Another holds the key."""
        lease = (await self.store.grant(5)).lease
        return await self.store.create(KEYS.leader, "them", lease=lease)


@pytest.fixture
def scene():
    return Scene()


async def test_a_candidate_acquires_a_free_leader_key(scene):
    """Its term is the key's create revision."""
    await scene.poll()

    term, lease = await scene.campaign()

    record = await scene.store.get(KEYS.leader)
    assert (record.create_revision, record.lease, record.value) == (term, lease, "me")


async def test_whoever_comes_second_learns_who_leads(scene):
    """From the answer, before the feed tells it."""
    await scene.poll()
    await scene.somebody_leads()

    term, _ = await scene.campaign()

    assert term is None
    assert scene.candidate.leader.record.value == "them"
    assert scene.candidate.campaign_delay_s(TIMING) is None


async def test_a_creation_whose_answer_was_lost_is_read_back(scene):
    """Otherwise a winner that never heard of it would block everybody."""
    await scene.poll()
    losses = iter([Lost.ANSWER, Lost.NOTHING, Lost.NOTHING])
    scene.wire.losing = lambda: next(losses)

    term, _ = await scene.campaign()

    assert term == (await scene.store.get(KEYS.leader)).create_revision


async def test_a_creation_that_never_arrived_is_not_sent_again_blindly(scene):
    """It is read back, found undone, and the next tick decides again."""
    await scene.poll()
    losses = iter([Lost.REQUEST, Lost.NOTHING])
    scene.wire.losing = lambda: next(losses)

    term, _ = await scene.campaign()

    assert term is None
    assert await scene.store.get(KEYS.leader) is None


async def test_the_term_record_comes_with_the_key(scene):
    """The new term opens its own record without asking for the last one."""
    await scene.store.commit([Put(KEYS.term_record, "the last term's")])
    await scene.poll()
    lease = (await scene.store.grant(5)).lease

    acquired = await scene.candidate.campaign("me", lease, TIMING)

    assert [record.value for record in acquired.term_record] == ["the last term's"]


async def test_a_store_that_is_silent_decides_nothing(scene):
    """Neither won nor lost."""
    await scene.poll()
    scene.wire.lose(Lost.REQUEST)

    with pytest.raises(StoreUnavailableError):
        await scene.campaign()


async def test_an_attempt_that_came_through_late_is_recognised_and_put_right(scene):
    """It carries this manager's lease and an older worker's name."""
    await scene.poll()
    lease = (await scene.store.grant(5)).lease
    made = await scene.store.create(KEYS.leader, "my old worker", lease=lease)
    await scene.poll()

    assert scene.candidate.holds_leader_key(lease)
    assert (await scene.candidate.claim("my worker", lease, TIMING)).term == made

    assert (await scene.store.get(KEYS.leader)).value == "my worker"


async def test_a_lease_that_is_gone_wins_nothing(scene):
    """It is an error of its own, since the manager has to join again."""
    await scene.poll()

    with pytest.raises(LeaseExpiredError):
        await scene.candidate.campaign("me", LeaseId(99), TIMING)


async def test_a_named_successor_does_not_hesitate(scene):
    """The others leave it a head start."""
    await scene.store.commit([Put(KEYS.transfer, "a")])
    await scene.poll()

    assert scene.candidate.campaign_delay_s(TIMING) == 0


async def test_others_leave_a_named_successor_a_head_start_once(scene):
    """Counted from the moment they saw the leader key vanish."""
    await scene.somebody_leads()
    await scene.store.commit([Put(KEYS.transfer, "b")])
    await scene.poll()
    await scene.store.commit([Delete(KEYS.leader)])
    await scene.poll()

    assert scene.candidate.campaign_delay_s(TIMING) == pytest.approx(0.2)
    scene.clock.advance(0.15)
    assert scene.candidate.campaign_delay_s(TIMING) == pytest.approx(0.05)
    scene.clock.advance(1)
    assert scene.candidate.campaign_delay_s(TIMING) == 0


async def test_a_transfer_not_yet_delivered_is_respected_all_the_same(scene):
    """The attempt fails in the store, and its answer tells of the transfer."""
    await scene.poll()
    await scene.store.commit([Put(KEYS.transfer, "b")])

    term, _ = await scene.campaign()

    assert term is None
    assert scene.candidate.transfer.record.value == "b"
    scene.clock.advance(1)
    term, _ = await scene.campaign()
    assert term is not None


async def test_a_version_not_yet_delivered_is_respected_all_the_same(scene):
    """The attempt fails in the store, and its answer tells which release has led."""
    await scene.poll()
    await scene.store.commit([Put(KEYS.version, "2.0")])

    term, _ = await scene.campaign()

    assert term is None
    assert scene.candidate.version.record.value == "2.0"


async def test_a_protection_not_yet_delivered_is_respected_all_the_same(scene):
    """Whoever was eligible for an open cluster does not get to lead a protected one."""
    await scene.poll()
    await scene.store.commit([Put(KEYS.protection, "{}")])

    term, _ = await scene.campaign()

    assert term is None
    assert scene.candidate.protection.record.value == "{}"


def test_an_interrupted_feed_means_unknown():
    """Neither there nor gone; a candidate then tries, and the store decides."""
    watched_key = WatchedKey("/k")
    record = Record("/k", "v", 5, 5)
    watched_key.apply(Listed((record,), 5), 0.0)

    watched_key.apply(Interrupted("cut"), 1.0)

    assert not watched_key.known
    assert watched_key.record == record
    watched_key.apply(Current(5), 2.0)
    assert watched_key.known


def test_an_event_from_before_a_read_changes_nothing():
    """A transaction showed revision 9; the feed is still telling of 7."""
    watched_key = WatchedKey("/k")
    watched_key.apply(Listed((Record("/k", "v", 5, 5),), 5), 0.0)
    watched_key.apply_read(None, 9, 1.0)

    watched_key.apply(Changed(put=(Record("/k", "w", 5, 7),), deleted=(), revision=7), 2.0)

    assert watched_key.record is None


def test_a_read_from_before_the_event_changes_nothing():
    """A late answer must not bring back what the feed told to be gone: nobody would correct it."""
    watched_key = WatchedKey("/k")
    watched_key.apply(Listed((Record("/k", "v", 5, 5),), 5), 0.0)
    watched_key.apply(Changed(put=(), deleted=("/k",), revision=8), 1.0)

    watched_key.apply_read(Record("/k", "v", 5, 5), 7, 2.0)

    assert watched_key.record is None
    assert watched_key.changed_s == 1.0


def test_a_fresh_listing_replaces_what_was_known():
    """Even at a lower revision: the store was restored from a backup."""
    watched_key = WatchedKey("/k")
    watched_key.apply(Listed((), 100), 0.0)

    watched_key.apply(Listed((Record("/k", "v", 5, 5), Record("/k2", "v", 5, 5)), 7), 1.0)

    assert watched_key.record.key == "/k"
    assert watched_key.revision == 7


async def test_nobody_tries_while_the_managers_are_set_down(scene):
    """Until that record is gone."""
    await scene.store.commit([Put(KEYS.down, "since then")])
    await scene.poll()
    assert scene.candidate.campaign_delay_s(TIMING) is None

    await scene.store.commit([Delete(KEYS.down)])
    await scene.poll()
    assert scene.candidate.campaign_delay_s(TIMING) is not None


async def test_an_attempt_that_does_not_know_of_being_set_down_fails_and_learns(scene):
    """The record is judged in the transaction: a late attempt cannot slip past it."""
    await scene.poll()
    await scene.store.commit([Put(KEYS.down, "since then")])

    term, _ = await scene.campaign()

    assert term is None
    assert await scene.store.get(KEYS.leader) is None
    assert scene.candidate.campaign_delay_s(TIMING) is None
