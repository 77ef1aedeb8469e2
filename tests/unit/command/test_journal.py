"""A mutating command runs at most once, whoever leads."""

from __future__ import annotations

import asyncio

import pytest

from mgr.command.answer import Answer
from mgr.command.journal import (
    LEASE_TTL_S,
    LIFE_S,
    NO_ATTEMPT,
    OUTPUT_BYTES_MAX,
    EarlierAttempts,
    Journal,
)
from mgr.command.request import DIGEST_FORM
from mgr.errors import (
    FencedError,
    InvalidArgumentError,
    MayHaveRunError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.leading import leading

DIGEST = f"{DIGEST_FORM}1"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("mgr.command.journal.PRELOAD_AFTER_S", 0)
    monkeypatch.setattr("mgr.command.journal.EVICTED_AT_ONCE", 1)


def journal(term, fenced=None):
    return Journal(
        fenced or term.fenced,
        term.keys,
        term.mirror,
        term.store,
        term=term.term,
        clock=term.clock,
    )


class Silent:
    """Fenced writes whose answers are lost: done or not done, but never answered."""

    def __init__(self, fenced, *, done):
        self._fenced = fenced
        self._done = done

    async def commit(self, operations, when=()):
        if self._done:
            await self._fenced.commit(operations, when)
        raise OutcomeUnknownError("no answer")


async def test_a_new_request_begins():
    """Nobody has seen the id: the command is to run."""
    async with leading() as term:
        assert await journal(term).begin("r1", DIGEST, idempotent=False) == NO_ATTEMPT


async def test_a_retry_gets_the_result_of_the_first_attempt():
    """In the same term and in the next one, on another manager with a mirror of its own."""
    answer = Answer(-2, "out", "err")
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        assert await book.finish("r1", DIGEST, answer)

        same = await book.begin("r1", DIGEST, idempotent=False)
        successor = await term.succeed()
        later = await journal(successor).begin("r1", DIGEST, idempotent=False)

    assert same.answer == later.answer == Answer(-2, "out", "err", term=term.term)


async def test_what_a_dead_manager_began_is_not_run_again():
    """Nobody knows how far it came; the error names the term in which it began."""
    async with leading() as term:
        await journal(term).begin("r1", DIGEST, idempotent=False)
        successor = await term.succeed()

        with pytest.raises(MayHaveRunError, match=f"in term {term.term}"):
            await journal(successor).begin("r1", DIGEST, idempotent=False)


async def test_an_idempotent_command_of_a_dead_manager_is_run_again():
    """Its author says that twice is as good as once."""
    async with leading() as term:
        await journal(term).begin("r1", DIGEST, idempotent=True)
        successor = await term.succeed()

        earlier = await journal(successor).begin("r1", DIGEST, idempotent=True)

    assert earlier == EarlierAttempts(unclear_term=term.term)


async def test_an_attempt_that_ran_nothing_leaves_the_id_free():
    """A module that was too busy to take the command must not turn a retry into a riddle."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        await book.forget("r1")

        assert await book.begin("r1", DIGEST, idempotent=False) == NO_ATTEMPT
        assert (await term.store.get(term.keys.request("r1"))).lease


async def test_a_start_whose_answer_was_lost_did_not_run_and_may_be_tried_again():
    """The caller gets "unavailable, nothing ran", and the retry runs."""
    async with leading() as term:
        book = journal(term, Silent(term.fenced, done=True))
        with pytest.raises(StoreUnavailableError, match="was not begun") as caught:
            await book.begin("r1", DIGEST, idempotent=False)
        book._fenced = term.fenced

        assert not isinstance(caught.value, OutcomeUnknownError)
        assert await book.begin("r1", DIGEST, idempotent=False) == NO_ATTEMPT


async def test_a_result_that_could_not_be_recorded_is_remembered_for_this_term():
    """A retry in the same term gets it; after a failover nobody can know."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        book._fenced = Silent(term.fenced, done=False)
        assert not await book.finish("r1", DIGEST, Answer(0, "done"))

        assert await book.begin("r1", DIGEST, idempotent=False) == EarlierAttempts(
            Answer(0, "done")
        )
        successor = await term.succeed()
        with pytest.raises(MayHaveRunError):
            await journal(successor).begin("r1", DIGEST, idempotent=False)


async def test_an_own_start_without_a_known_end_is_not_run_again():
    """What this worker no longer remembers it treats as if it may have run."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)

        with pytest.raises(MayHaveRunError):
            await book.begin("r1", DIGEST, idempotent=False)


async def test_a_mirror_that_is_behind_does_not_let_a_command_run_twice():
    """The store has the last word: a start is made only where there is nothing yet."""

    class Behind:
        def get(self, key):
            return None

        def list(self, prefix):
            return {}

        def subscribe(self, prefix, callback):
            pass

    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        await book.finish("r1", DIGEST, Answer(0, "done"))
        book._mirror = Behind()

        again = await book.begin("r1", DIGEST, idempotent=False)

    assert again.answer.stdout == "done"


async def test_a_deposed_manager_begins_nothing_and_records_nothing():
    """Both writes carry the proof of the term."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        await term.depose()

        with pytest.raises(FencedError):
            await book.begin("r2", DIGEST, idempotent=False)
        with pytest.raises(FencedError):
            await book.finish("r1", DIGEST, Answer())
        assert await term.store.get(term.keys.request("r2")) is None


async def test_an_id_is_good_for_one_command():
    """Reusing an id by mistake must not return another command's answer."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        await book.finish("r1", DIGEST, Answer())

        with pytest.raises(InvalidArgumentError, match="another command"):
            await book.begin("r1", f"{DIGEST_FORM}2", idempotent=False)


async def test_a_long_output_is_not_kept_and_the_retry_is_reported_so():
    """The command is not run again for the sake of its output."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        await book.finish("r1", DIGEST, Answer(0, "x" * (OUTPUT_BYTES_MAX + 1)))
        again = await book.begin("r1", DIGEST, idempotent=False)

    assert (again.answer.retval, again.answer.stdout) == (0, "")
    assert f"output of {OUTPUT_BYTES_MAX + 1} bytes was too long to be kept" in again.answer.stderr


async def test_an_unreadable_entry_is_treated_as_begun():
    """What another release or a hand in etcd wrote does not let a command run twice."""
    async with leading() as term:
        await term.fenced.put(term.keys.request("r1"), "{}")

        with pytest.raises(MayHaveRunError):
            await journal(term).begin("r1", DIGEST, idempotent=False)


async def test_every_entry_lives_ten_minutes_and_none_for_ever():
    """One lease is shared and never renewed; after its first minute new entries get another."""
    clock = ManualClock()
    async with leading(MemoryStore(clock), clock) as term:
        # Leadership of its own, whose lease is not renewed: records are read from the store.
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        first = (await term.store.get(term.keys.request("r1"))).lease
        book._clock = later = ManualClock(clock.now() + LEASE_TTL_S - LIFE_S - 1)
        await book.begin("r2", DIGEST, idempotent=False)
        later.advance(2)
        await book.begin("r3", DIGEST, idempotent=False)
        leases = [
            (await term.store.get(term.keys.request(name))).lease for name in ("r1", "r2", "r3")
        ]
        clock.advance(LIFE_S - 1)
        alive = await term.store.get(term.keys.request("r1"))
        clock.advance(LEASE_TTL_S - LIFE_S + 10)
        gone = await term.store.get(term.keys.request("r3"))

    assert leases[:2] == [first, first]
    assert leases[2] != first
    assert alive is not None
    assert gone is None


async def test_a_revoked_lease_costs_a_new_lease_and_no_command():
    """Somebody tidied up in etcd."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", DIGEST, idempotent=False)
        await term.store.revoke((await term.store.get(term.keys.request("r1"))).lease)

        assert await book.begin("r2", DIGEST, idempotent=False) == NO_ATTEMPT


async def test_a_flood_of_commands_keeps_a_bounded_number_of_results(monkeypatch):
    """The oldest results go first, an earlier term's too; a bare start is never dropped."""
    monkeypatch.setattr("mgr.command.journal.ENTRIES_MAX", 2)
    async with leading() as term:
        first = journal(term)
        await first.begin("started", DIGEST, idempotent=False)
        await first.begin("r1", DIGEST, idempotent=False)
        await first.finish("r1", DIGEST, Answer())

        successor = await term.succeed()
        book = journal(successor)
        await book.preload()
        for name in ("r2", "r3"):
            await book.begin(name, DIGEST, idempotent=False)
            await book.finish(name, DIGEST, Answer())
        left = [key.rpartition("/")[2] for key in successor.mirror.list(term.keys.requests)]

    assert left == ["r2", "r3", "started"]


async def test_long_results_make_room_sooner(monkeypatch):
    """All of them stand in etcd and in every manager's memory."""
    monkeypatch.setattr("mgr.command.journal.RESULTS_CHARS_MAX", 1000)
    async with leading() as term:
        successor = term
        for name in ("r1", "r2", "r3", "r4"):
            # Each successor counts what stands there.
            successor = await successor.succeed()
            book = journal(successor)
            await book.preload()
            await book.begin(name, DIGEST, idempotent=False)
            await book.finish(name, DIGEST, Answer(0, "x" * 300, ""))
        left = [key.rpartition("/")[2] for key in successor.mirror.list(term.keys.requests)]

    assert left == ["r3", "r4"]


async def test_results_of_earlier_terms_are_counted_beside_the_first_commands(monkeypatch):
    """However many there are, none of them is counted twice, and theirs are the older ones."""
    monkeypatch.setattr("mgr.command.journal.ENTRIES_MAX", 6)
    monkeypatch.setattr("mgr.command.journal.PRELOADED_AT_ONCE", 2)

    async def run(book, name):
        await book.begin(name, DIGEST, idempotent=False)
        await book.finish(name, DIGEST, Answer())

    async with leading() as term:
        for number in range(5):
            await run(journal(term), f"old{number}")
        successor = await term.succeed()
        book = journal(successor)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(book.preload())
            await run(book, "new0")
        for number in (1, 2):
            await run(book, f"new{number}")
        left = [key.rpartition("/")[2] for key in successor.mirror.list(term.keys.requests)]

    assert left == ["new0", "new1", "new2", "old2", "old3", "old4"]
