"""What every store promises of leases."""

import pytest

from mgr.errors import LeaseExpiredError
from mgr.store.api import Put


async def test_a_lease_is_at_least_as_long_as_asked(store):
    """The store may have a floor, and says what it really gave."""
    assert (await store.grant(1)).ttl_s >= 1
    assert (await store.grant(7)).ttl_s == 7


async def test_a_key_ends_with_its_lease(harness, store, prefix):
    """Nobody has to clean up after a manager that died."""
    grant = await store.grant(2)
    await store.commit([Put(f"{prefix}leased", "", grant.lease), Put(f"{prefix}free", "")])

    await harness.let_pass(grant.ttl_s + 2)

    assert [r.key for r in (await store.list(prefix)).records] == [f"{prefix}free"]
    with pytest.raises(LeaseExpiredError):
        await store.renew(grant.lease)


async def test_a_renewed_lease_lives_on(harness, store, prefix):
    """Each renewal gives the lease its full length again."""
    grant = await store.grant(2)
    await store.commit([Put(f"{prefix}k", "", grant.lease)])

    for _ in range(4):
        await harness.let_pass(1)
        assert await store.renew(grant.lease) == grant.ttl_s

    assert await store.get(f"{prefix}k") is not None
    await store.revoke(grant.lease)


async def test_a_revoked_lease_takes_its_keys_along(store, prefix):
    """Revoking what is gone is no error: the wish is fulfilled."""
    lease = (await store.grant(10)).lease
    await store.commit([Put(f"{prefix}k", "", lease)])

    await store.revoke(lease)
    await store.revoke(lease)

    assert await store.get(f"{prefix}k") is None
    with pytest.raises(LeaseExpiredError):
        await store.renew(lease)


async def test_a_key_written_without_a_lease_outlives_the_one_it_had(store, prefix):
    """The last write says what a key hangs on."""
    lease = (await store.grant(10)).lease
    await store.commit([Put(f"{prefix}k", "1", lease)])
    await store.commit([Put(f"{prefix}k", "2")])

    await store.revoke(lease)

    assert (await store.get(f"{prefix}k")).value == "2"


async def test_only_one_of_two_creates_a_key(store, prefix):
    """The second one learns that it did not."""
    first, second = (await store.grant(10)).lease, (await store.grant(10)).lease

    term = await store.create(f"{prefix}k", "a", lease=first)

    assert await store.create(f"{prefix}k", "b", lease=second) is None
    record = await store.get(f"{prefix}k")
    assert (record.value, record.create_revision, record.lease) == ("a", term, first)


async def test_a_lost_answer_to_create_can_be_asked_for_again(store, prefix):
    """Otherwise a winner that lost the answer would block all others for good."""
    lease = (await store.grant(10)).lease
    term = await store.create(f"{prefix}k", "a", lease=lease)
    assert await store.create(f"{prefix}k", "a", lease=lease) == term


async def test_creating_under_a_lease_that_is_gone_fails(store, prefix):
    """A key without an end would have no one to end it."""
    lease = (await store.grant(10)).lease
    await store.revoke(lease)
    with pytest.raises(LeaseExpiredError):
        await store.create(f"{prefix}k", "a", lease=lease)


async def test_an_heir_creates_what_ended_with_its_lease(harness, store, prefix):
    """A dead leader is replaced, under a greater term."""
    dead, heir = await store.grant(2), await store.grant(60)
    old = await store.create(f"{prefix}k", "old", lease=dead.lease)

    await harness.let_pass(dead.ttl_s + 2)

    assert await store.create(f"{prefix}k", "new", lease=heir.lease) > old
    await store.revoke(heir.lease)
