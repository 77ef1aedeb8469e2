"""What every store promises of keys and transactions."""

import pytest

from mgr.errors import (
    ConflictError,
    InvalidArgumentError,
    InvalidKeyError,
    LeaseExpiredError,
    TooLargeError,
)
from mgr.store.api import (
    ABSENT,
    NO_LEASE,
    OPERATIONS_MAX,
    VALUE_BYTES_MAX,
    Created,
    Delete,
    DeletePrefix,
    Modified,
    Put,
    Record,
)


async def test_a_key_never_written_is_absent(store, prefix):
    """Absence is an answer, not an error."""
    assert await store.get(f"{prefix}k") is None


async def test_what_was_written_is_read(store, prefix):
    """Value, lease and both revisions come back; text of any script survives."""
    lease = (await store.grant(10)).lease

    outcome = await store.commit([Put(f"{prefix}ключ", "Wert\nß\0€", lease)])

    revision = outcome.revision
    expected = Record(f"{prefix}ключ", "Wert\nß\0€", revision, revision, lease)
    assert await store.get(f"{prefix}ключ") == expected
    await store.revoke(lease)


async def test_an_overwritten_key_keeps_its_create_revision(store, prefix):
    """The term of a leader does not change when it rewrites its address."""
    first = (await store.commit([Put(f"{prefix}k", "1")])).revision
    second = (await store.commit([Put(f"{prefix}k", "2")])).revision

    record = await store.get(f"{prefix}k")
    assert (record.create_revision, record.mod_revision) == (first, second)
    assert second > first


async def test_a_key_made_again_has_a_new_create_revision(store, prefix):
    """An incarnation is never taken for another: this is what terms rest on."""
    first = (await store.commit([Put(f"{prefix}k", "1")])).revision
    await store.commit([Delete(f"{prefix}k")])
    await store.commit([Put(f"{prefix}k", "1")])

    assert (await store.get(f"{prefix}k")).create_revision > first


async def test_one_transaction_is_one_revision(store, prefix):
    """Everything in it becomes true at once."""
    before = (await store.commit([Put(f"{prefix}x", "")])).revision

    outcome = await store.commit([Put(f"{prefix}a", "1"), Put(f"{prefix}b", "2")])

    assert outcome.revision == before + 1
    listing = await store.list(prefix)
    assert {r.mod_revision for r in listing.records} == {before, before + 1}


async def test_a_transaction_that_changes_nothing_makes_no_revision(store, prefix):
    """Deleting what is absent is no change."""
    before = (await store.commit([Put(f"{prefix}x", "")])).revision
    outcome = await store.commit([Delete(f"{prefix}k"), DeletePrefix(f"{prefix}k/")])
    assert (outcome.succeeded, outcome.revision) == (True, before)


@pytest.mark.parametrize("kind", [Created, Modified])
async def test_a_compare_that_fails_stops_everything(store, prefix, kind):
    """Nothing is done, and the keys asked for are shown as they are."""
    revision = (await store.commit([Put(f"{prefix}k", "mine")])).revision

    outcome = await store.commit(
        [Put(f"{prefix}k", "theirs"), Put(f"{prefix}other", "x"), Delete(f"{prefix}k2")],
        when=[Created(f"{prefix}k", revision), kind(f"{prefix}k", ABSENT)],
        otherwise_get=[f"{prefix}k", f"{prefix}other"],
    )

    assert not outcome.succeeded
    assert [r and r.value for r in outcome.found] == ["mine", None]
    assert await store.get(f"{prefix}other") is None


async def test_compares_that_hold_let_everything_through(store, prefix):
    """Created and Modified tell incarnation and version apart; ABSENT means not there."""
    created = (await store.commit([Put(f"{prefix}k", "1")])).revision
    modified = (await store.commit([Put(f"{prefix}k", "2")])).revision

    outcome = await store.commit(
        [Delete(f"{prefix}k")],
        when=[
            Created(f"{prefix}k", created),
            Modified(f"{prefix}k", modified),
            Created(f"{prefix}none", ABSENT),
            Modified(f"{prefix}none", ABSENT),
        ],
        otherwise_get=[f"{prefix}k"],
    )

    assert (outcome.succeeded, outcome.found) == (True, ())
    assert await store.get(f"{prefix}k") is None


async def test_a_transaction_reads_what_it_has_written(store, prefix):
    """In the same transaction, and only the keys asked for that case."""
    await store.commit([Put(f"{prefix}k", "1")])

    outcome = await store.commit(
        [Put(f"{prefix}k", "2"), DeletePrefix(f"{prefix}none/")],
        when=[Created(f"{prefix}none", ABSENT)],
        then_get=[f"{prefix}k", f"{prefix}none"],
        otherwise_get=[f"{prefix}other"],
    )

    assert outcome.succeeded
    assert [r and (r.value, r.mod_revision) for r in outcome.found] == [
        ("2", outcome.revision),
        None,
    ]
    refused = await store.commit(
        [Delete(f"{prefix}k")], when=[Created(f"{prefix}k", ABSENT)], then_get=[f"{prefix}k"]
    )
    assert (refused.succeeded, refused.found) == (False, ())


async def test_a_transaction_without_operations_is_a_proof(store, prefix):
    """It changes nothing and says whether the compares hold."""
    revision = (await store.commit([Put(f"{prefix}k", "1")])).revision

    assert (await store.commit([], when=[Created(f"{prefix}k", revision)])).succeeded
    outcome = await store.commit(
        [], when=[Created(f"{prefix}k", ABSENT)], otherwise_get=[f"{prefix}k"]
    )
    assert not outcome.succeeded
    assert outcome.found[0].create_revision == revision
    assert outcome.revision == revision


async def test_a_prefix_is_deleted_and_nothing_beside_it(store, prefix):
    """The neighbour that sorts right behind the prefix stays."""
    keys = [f"{prefix}a", f"{prefix}a/1", f"{prefix}a/2", f"{prefix}a0", f"{prefix}b"]
    await store.commit([Put(key, "") for key in keys])

    await store.commit([DeletePrefix(f"{prefix}a/")])

    assert [r.key for r in (await store.list(prefix)).records] == [keys[0], keys[3], keys[4]]


async def test_deletions_come_in_batches(store, prefix):
    """As many as a transaction takes, at one revision."""
    keys = [f"{prefix}{n:03}" for n in range(OPERATIONS_MAX)]
    await store.commit([Put(key, "") for key in keys])
    assert len((await store.list(prefix)).records) == OPERATIONS_MAX

    await store.commit([Delete(key) for key in keys])

    assert (await store.list(prefix)).records == ()


async def test_a_listing_is_sorted_and_of_one_revision(store, prefix):
    """However many pages it takes."""
    keys = [f"{prefix}{n:04}" for n in range(2304)]
    for start in range(0, len(keys), 128):
        await store.commit([Put(key, key) for key in reversed(keys[start : start + 128])])
    last = await store.commit([Put(f"{prefix}9999", "x")])

    listing = await store.list(prefix)

    assert [r.key for r in listing.records] == [*keys, f"{prefix}9999"]
    assert listing.revision == last.revision


@pytest.mark.parametrize("edge", ["\u00ff", "\U0010ffff", "\ud7ff", "\x7f", "\u07ff"])
async def test_a_prefix_may_end_with_the_last_character_of_its_length(store, prefix, edge):
    """Where the next prefix is not the next character, neighbours are still kept apart."""
    inside = [f"{prefix}a{edge}", f"{prefix}a{edge}1", f"{prefix}a{edge}\U0010ffff"]
    outside = [f"{prefix}a", f"{prefix}b", f"{prefix}a0"]
    await store.commit([Put(key, "") for key in (*inside, *outside)])

    listing = await store.list(f"{prefix}a{edge}")

    assert [r.key for r in listing.records] == inside


@pytest.mark.parametrize("key", ["", "a\0b", "a\udc80"])
async def test_an_impossible_key_is_refused_before_anything_is_sent(store, prefix, key):
    """Empty, with a NUL, or not to be written as UTF-8."""
    bad = f"{prefix}{key}" if key else ""
    for attempt in (
        store.get(bad),
        store.list(bad),
        store.commit([Put(f"{prefix}good", ""), Put(bad, "")]),
        store.commit([Delete(bad)]),
        store.commit([DeletePrefix(bad)]),
        store.commit([], when=[Created(bad, ABSENT)]),
        store.commit([], otherwise_get=[bad]),
        store.create(bad, "", lease=NO_LEASE),
    ):
        with pytest.raises(InvalidKeyError):
            await attempt
    with pytest.raises(InvalidKeyError):
        store.follow(bad)
    assert await store.get(f"{prefix}good") is None


async def test_a_value_that_is_no_text_is_refused(store, prefix):
    """The message names the key."""
    with pytest.raises(InvalidArgumentError, match=f"{prefix}k"):
        await store.commit([Put(f"{prefix}k", "\udcff")])


async def test_a_value_as_large_as_the_limit_fits(harness, store, prefix):
    """The limit is a promise, too."""
    key = f"{prefix}k"
    value = "x" * (harness.value_bytes_max - len(key))
    await store.commit([Put(key, value)])
    assert (await store.get(key)).value == value
    await store.commit([Delete(key)])


@pytest.mark.parametrize("parts", [1, 2])
async def test_what_is_too_large_is_refused_with_the_limit(store, prefix, parts):
    """As one value or as the sum of several."""
    half = "x" * (VALUE_BYTES_MAX // parts)
    with pytest.raises(TooLargeError, match=str(VALUE_BYTES_MAX)):
        await store.commit([Put(f"{prefix}{n}", half) for n in range(parts)])


async def test_too_many_operations_are_refused_not_split(store, prefix):
    """Half of a batch would be worse than none."""
    with pytest.raises(TooLargeError, match=str(OPERATIONS_MAX)):
        await store.commit([Put(f"{prefix}{n}", "") for n in range(OPERATIONS_MAX + 1)])
    assert (await store.list(prefix)).records == ()


async def test_a_key_written_twice_in_one_transaction_is_refused(store, prefix):
    """There is no order inside a transaction that could say which one counts."""
    for operations in (
        [Put(f"{prefix}k", "1"), Put(f"{prefix}k", "2")],
        [Put(f"{prefix}k", "1"), Delete(f"{prefix}k")],
        [DeletePrefix(prefix), Put(f"{prefix}k", "1")],
    ):
        with pytest.raises(InvalidArgumentError, match=f"{prefix}k"):
            await store.commit(operations)


async def test_a_put_under_a_lease_that_is_gone_does_nothing(store, prefix):
    """Not even the other operations of its transaction."""
    lease = (await store.grant(10)).lease
    await store.revoke(lease)

    with pytest.raises(LeaseExpiredError):
        await store.commit([Put(f"{prefix}a", ""), Put(f"{prefix}b", "", lease)])

    assert (await store.list(prefix)).records == ()


async def test_it_says_what_it_is(store, prefix):
    """Release, identity, and a revision that grows with writes."""
    before = await store.status()
    await store.commit([Put(f"{prefix}k", "")])
    after = await store.status()

    assert before.version.count(".") == 2
    assert after.cluster_id == before.cluster_id != 0
    assert after.revision > before.revision


async def test_pages_hold_every_record_of_one_revision(store, prefix):
    """In key order, each once, whatever the size of a page; others' keys are not among them."""
    puts = [Put(f"{prefix}{number:03d}", "x" * number) for number in range(100)]
    await store.commit([*puts, Put(f"{prefix[:-1]}0", "a neighbour")])
    revision = (await store.status()).revision

    found, after = [], ""
    while True:
        page = await store.page(prefix, after=after, at=revision, chars_max=700)
        found += [record.key for record in page.records]
        after = found[-1]
        if not page.more:
            break

    assert found == [put.key for put in puts]
    assert len((await store.page(prefix, chars_max=1)).records) == 1


async def test_a_revision_that_cannot_be_read_any_more_is_a_conflict(store, prefix, harness):
    """Whoever reads pages begins again."""
    await store.commit([Put(f"{prefix}k", "1")])
    old = (await store.status()).revision
    await store.commit([Put(f"{prefix}k", "2")])
    await harness.compact()

    with pytest.raises(ConflictError, match=str(old)):
        await store.page(prefix, at=old, chars_max=100)
