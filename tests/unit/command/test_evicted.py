"""A request is applied at most once, however many commands came after it and however old it is."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mgr.command.answer import Answer
from mgr.command.evicted import EvictedRequests
from mgr.command.journal import AGE_MAX_S, LIFE_S, NO_ATTEMPT, Journal
from mgr.command.request import DIGEST_FORM
from mgr.errors import MayHaveRunError, OutcomeUnknownError, OverloadedError
from mgr.store.api import NO_LEASE
from mgr.store.memory import MemoryStore
from tests.support.clock import ManualClock
from tests.support.dispatch_fakes import ADD, Bench, bench
from tests.support.leading import leading

DIGEST = f"{DIGEST_FORM}1"
NO_LONGER = "ran: .* no longer kept"


@pytest.fixture
def few(monkeypatch):
    """Keep four results, and evict two at a time."""
    monkeypatch.setattr("mgr.command.journal.ENTRIES_MAX", 4)
    monkeypatch.setattr("mgr.command.journal.EVICTED_AT_ONCE", 2)
    monkeypatch.setattr("mgr.command.journal.PRELOAD_AFTER_S", 0)


def journal(term, fenced=None):
    return Journal(
        fenced or term.fenced,
        term.keys,
        term.mirror,
        term.store,
        term=term.term,
        clock=term.clock,
    )


async def run(book, name):
    assert await book.begin(name, DIGEST, idempotent=False) == NO_ATTEMPT
    await book.finish(name, DIGEST, Answer(0, name))


async def flood(it, count, first=0):
    for number in range(first, first + count):
        await it.execute(*ADD, request_id=f"other{number}")


@pytest.mark.usefixtures("few")
async def test_a_request_is_not_run_again_after_a_flood_of_other_commands():
    """By this active, or by its successor."""
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        await flood(it, 10)
        with pytest.raises(MayHaveRunError, match=NO_LONGER):
            await it.execute(*ADD, request_id="r1")
        heir = Bench(await it.term.succeed())
        with pytest.raises(MayHaveRunError, match=NO_LONGER):
            await heir.execute(*ADD, request_id="r1")
        kept = await heir.execute(*ADD, request_id="other9")

    assert it.counter.value == 11
    assert heir.counter.calls == 0
    assert kept.stdout == "11"


@pytest.mark.usefixtures("few")
async def test_without_the_ids_of_the_evicted_a_request_is_run_twice(monkeypatch):
    """A broken build: what is forgotten is taken for what never ran."""
    monkeypatch.setattr(EvictedRequests, "__contains__", lambda *_: False)
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        await flood(it, 10)
        await it.execute(*ADD, request_id="r1")

    assert it.counter.value == 12


async def test_results_are_evicted_a_hundred_at_a_time(monkeypatch):
    """One record of ids for all of them, in a transaction that etcd takes."""
    monkeypatch.setattr("mgr.command.journal.ENTRIES_MAX", 300)
    async with leading() as term:
        book = journal(term)
        await run(book, "r1")
        for number in range(500):
            await run(book, f"other{number}")
        with pytest.raises(MayHaveRunError, match=NO_LONGER):
            book.earlier_attempts("r1", DIGEST)
        results = term.mirror.list(term.keys.requests)
        records = term.mirror.list(term.keys.evicted)

    assert len(results) == 201
    assert len(records) == 3


@pytest.mark.usefixtures("few")
async def test_results_go_in_the_transaction_that_keeps_their_ids():
    """Whoever is killed between the two would leave an id that nobody knows."""

    class Watched:
        def __init__(self, fenced):
            self.fenced = fenced
            self.seen = []

        async def commit(self, operations, when=()):
            self.seen.append([type(each).__name__ for each in operations])
            return await self.fenced.commit(operations, when)

    async with leading() as term:
        watched = Watched(term.fenced)
        book = journal(term, watched)
        for number in range(6):
            await run(book, f"r{number}")

    evictions = [seen for seen in watched.seen if "Delete" in seen]
    assert evictions == [["Put", "Delete", "Delete", "Put"]]


@pytest.mark.usefixtures("few")
async def test_an_eviction_whose_answer_is_lost_forgets_no_id():
    """Done or not done: the result is there, or the id is."""

    class Silent:
        def __init__(self, fenced, *, done):
            self.fenced = fenced
            self.done = done

        async def commit(self, operations, when=()):
            if len(operations) == 1 or self.done:
                await self.fenced.commit(operations, when)
            if len(operations) > 1:
                raise OutcomeUnknownError("no answer")

    for done in (True, False):
        async with leading() as term:
            book = journal(term, Silent(term.fenced, done=done))
            for number in range(6):
                await run(book, f"r{number}")
            heir = journal(await term.succeed())
            for number in range(6):
                with contextlib.suppress(MayHaveRunError):
                    assert heir.earlier_attempts(f"r{number}", DIGEST) != NO_ATTEMPT


@pytest.mark.usefixtures("few")
async def test_when_there_is_no_room_for_ids_new_requests_are_refused(monkeypatch):
    """No id is forgotten: known ones are answered, and what carries none goes through."""
    monkeypatch.setattr("mgr.command.evicted.EVICTED_MAX", 4)
    clock = ManualClock()
    async with bench(store=MemoryStore(clock), clock=clock) as it:
        await flood(it, 8)
        with pytest.raises(OverloadedError, match=r"no room .* expire within 11 minutes"):
            await it.execute(*ADD, request_id="r1")
        assert (await it.execute(*ADD, request_id="other7")).stdout == "8"
        with pytest.raises(MayHaveRunError, match=NO_LONGER):
            await it.execute(*ADD, request_id="other0")
        assert (await it.execute(*ADD)).stdout == "9"
        await it.execute("counter", "show", request_id="read")


@pytest.mark.usefixtures("few")
async def test_room_comes_back_when_the_lease_of_the_oldest_ends():
    """The records expire by themselves, and what is kept in memory with them."""
    async with leading() as term:
        book = journal(term)
        for number in range(8):
            await run(book, f"r{number}")
        assert len(book._evicted) == 4
        lease = (await term.store.get(term.keys.request("r7"))).lease
        await term.store.revoke(lease)
        async with asyncio.timeout(5):
            while len(book._evicted):  # noqa: ASYNC110 - the mirror follows
                await asyncio.sleep(0)
        assert book.earlier_attempts("r0", DIGEST) == NO_ATTEMPT


async def test_ids_are_read_beside_the_first_commands(monkeypatch):
    """A command that comes meanwhile has the rest read at once; what expires is not kept."""
    monkeypatch.setattr("mgr.command.evicted.LOADED_AT_ONCE", 1)
    async with leading() as term:
        records = EvictedRequests(term.mirror, term.keys, term=1)
        for number in range(5):
            await term.fenced.commit([records.record([f"r{number}"], NO_LEASE)])
        evicted = EvictedRequests(term.mirror, term.keys, term=2)
        async with asyncio.TaskGroup() as tasks:
            loading = tasks.create_task(evicted.load())
            await asyncio.sleep(0)
            await term.fenced.delete(term.keys.evicted_requests("1-1"))
            await term.fenced.delete(term.keys.evicted_requests("1-5"))
            assert not loading.done()
            assert "r3" in evicted
            assert len(evicted) == 3

    assert {name for name in (f"r{n}" for n in range(5)) if name in evicted} == {"r1", "r2", "r3"}


async def test_an_unreadable_record_of_ids_does_not_stop_commands():
    """Somebody wrote it by hand. It is logged, and the others count."""
    async with leading() as term:
        good = EvictedRequests(term.mirror, term.keys, term=1).record(["r1"], NO_LEASE)
        await term.fenced.commit([good])
        for name, value in (("bad1", "é"), ("bad2", "AAAA")):
            await term.fenced.put(term.keys.evicted_requests(name), value)
        book = journal(term)
        assert book.earlier_attempts("r2", DIGEST) == NO_ATTEMPT
        with pytest.raises(MayHaveRunError):
            book.earlier_attempts("r1", DIGEST)


# -- age ------------------------------------------------------------------------------------------


async def test_a_retry_that_is_older_than_what_is_known_is_not_run():
    """Its record may have expired; a younger one is certain to be known."""
    async with bench() as it:
        with pytest.raises(MayHaveRunError, match=r"first sent 541 s ago.*not run now"):
            await it.execute(*ADD, request_id="r1", age_s=AGE_MAX_S + 1)
        assert it.counter.calls == 0
        await it.execute(*ADD, request_id="r1", age_s=AGE_MAX_S)
        again = await it.execute(*ADD, request_id="r1", age_s=LIFE_S * 3)

    assert again.stdout == "1"
    assert it.counter.calls == 1


async def test_an_old_retry_runs_twice_where_its_age_is_not_said():
    """Why a client has to say it: the record has expired, and nobody knows the id."""
    clock = ManualClock()
    async with leading(MemoryStore(clock), clock) as term:
        it = Bench(term)
        await it.execute(*ADD, request_id="r1")
        lease = (await term.store.get(term.keys.request("r1"))).lease
        await term.store.revoke(lease)  # as time does, after eleven minutes at most
        async with asyncio.timeout(5):
            while term.mirror.get(term.keys.request("r1")):  # noqa: ASYNC110 - the mirror follows
                await asyncio.sleep(0)
        with pytest.raises(MayHaveRunError):
            await it.execute(*ADD, request_id="r1", age_s=1300.0)
        assert it.counter.calls == 1
        await it.execute(*ADD, request_id="r1")

    assert it.counter.calls == 2


@pytest.mark.parametrize("changed", [DIGEST, "0123456789abcdef"])
async def test_a_digest_of_another_form_is_not_compared(changed):
    """An earlier build made it of parsed arguments. Its id is known all the same."""
    async with leading() as term:
        book = journal(term)
        await book.begin("r1", changed, idempotent=False)
        await book.finish("r1", changed, Answer(0, "done"))
        assert book.earlier_attempts("r1", DIGEST).answer.stdout == "done"
