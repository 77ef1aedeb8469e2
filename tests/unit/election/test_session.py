"""The lease and its honest deadline."""

from __future__ import annotations

import pytest

from mgr.election.session import LeaseSession
from mgr.election.timing import Timing
from mgr.errors import LeaseExpiredError, OutcomeUnknownError, StoreUnavailableError
from mgr.store.api import ABSENT, Created, Put
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.lossy import LossyStore, Lost

TIMING = Timing.of_lease(5)


class SlowStore:
    """A store whose every answer takes ``span_s``: the work is done in the middle of it."""

    def __init__(self, inner, clock, span_s):
        self._inner = inner
        self._clock = clock
        self.span_s = span_s

    def __getattr__(self, name):
        async def call(*args, **kwargs):
            self._clock.advance(self.span_s / 2)
            answer = await getattr(self._inner, name)(*args, **kwargs)
            self._clock.advance(self.span_s / 2)
            return answer

        return call


@pytest.fixture
def clock():
    return ManualClock()


async def make_key(store, session):
    """Make a key on the session's lease."""
    outcome = await store.commit([Put("/k", "v", session.lease)], when=[Created("/k", ABSENT)])
    return outcome.revision


async def test_a_proof_reaches_as_far_as_its_renewal_was_sent(clock):
    """Not from its answer: the store starts the lease somewhere in between."""
    store = SlowStore(MemoryStore(clock), clock, 0.0)
    session = LeaseSession(store, clock, TIMING)
    await session.open()
    created = await make_key(store, session)
    store.span_s = 0.4
    sent_s = clock.now()

    deadline_s = await session.confirm("/k", created)

    assert deadline_s == pytest.approx(TIMING.deadline_s(sent_s))


async def test_making_a_key_does_not_renew_its_lease(clock):
    """The deadline of a fresh term counts from the renewal before it."""
    store = MemoryStore(clock)
    session = LeaseSession(store, clock, TIMING)
    await session.open()
    granted_s = clock.now()
    clock.advance(3)

    await make_key(store, session)

    assert session.deadline_s == pytest.approx(TIMING.deadline_s(granted_s))


async def test_a_key_that_was_made_anew_is_no_proof(clock):
    """The lease lives, and what hung on it is another's."""
    store = MemoryStore(clock)
    session = LeaseSession(store, clock, TIMING)
    await session.open()
    created = await make_key(store, session)
    await store.commit([Put("/k", "mine", session.lease)])
    assert await session.confirm("/k", created)

    stranger = await store.grant(5)
    await store.revoke(session.lease)
    await session.open()
    await store.commit([Put("/k", "theirs", stranger.lease)])

    with pytest.raises(LeaseExpiredError):
        await session.confirm("/k", created)
    await session.open()
    assert await session.confirm("/k", created) is None


@pytest.mark.parametrize("lost", [Lost.REQUEST, Lost.ANSWER])
async def test_an_unanswered_renewal_moves_nothing(clock, lost):
    """Perhaps the lease lives longer now; nobody may act on a perhaps."""
    store = LossyStore(MemoryStore(clock))
    session = LeaseSession(store, clock, TIMING)
    await session.open()
    before_s = session.deadline_s
    clock.advance(1)
    store.lose(lost)

    with pytest.raises(OutcomeUnknownError):
        await session.renew()

    assert session.deadline_s == before_s
    assert session.alive


async def test_a_renewal_without_a_proof_is_no_proof(clock):
    """The look at the key is lost: no deadline comes of it."""
    inner = MemoryStore(clock)
    store = LossyStore(inner)
    session = LeaseSession(store, clock, TIMING)
    await session.open()
    created = await make_key(inner, session)
    losses = iter([Lost.NOTHING, Lost.REQUEST])
    store.losing = lambda: next(losses)

    with pytest.raises(StoreUnavailableError):
        await session.confirm("/k", created)


async def test_a_lease_that_ran_out_is_forgotten(clock):
    """And the next one is a new one."""
    session = LeaseSession(MemoryStore(clock), clock, TIMING)
    await session.open()
    first = session.lease
    clock.advance(60)

    with pytest.raises(LeaseExpiredError):
        await session.renew()
    assert not session.alive
    await session.open()

    assert session.alive
    assert session.lease != first


async def test_closing_takes_every_key_along(clock):
    """A manager that stops leaves nothing behind."""
    store = MemoryStore(clock)
    session = LeaseSession(store, clock, TIMING)
    await session.open()
    await make_key(store, session)

    await session.close()
    await session.close()

    assert await store.get("/k") is None


async def test_the_lease_that_was_granted_counts(clock):
    """Asked for one second, etcd gives two."""
    session = LeaseSession(MemoryStore(clock), clock, Timing.of_lease(2).with_ttl(1.5))
    await session.open()

    assert session.timing.ttl_s == 2
