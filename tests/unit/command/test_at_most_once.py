"""At most once, and never called done by a manager that lost its term."""

from __future__ import annotations

import asyncio

import pytest

from mgr.command.journal import EarlierAttempts
from mgr.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    MayHaveRunError,
    NotActiveError,
    OutcomeUnknownError,
    OverloadedError,
    StoreUnavailableError,
    TermLostError,
)
from tests.support.dispatch_fakes import ADD, Bench, bench


async def test_a_retry_is_answered_and_not_run():
    """A counter never counts twice."""
    async with bench() as it:
        first = await it.execute(*ADD, request_id="r1")
        again = await it.execute(*ADD, request_id="r1")

    assert it.counter.calls == 1
    assert (first.stdout, again.stdout) == ("1", "1")


async def test_a_second_caller_waits_for_the_first_ones_result():
    """The same id twice at a time: a client that lost patience and asked again."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        async with asyncio.TaskGroup() as callers:
            first = callers.create_task(it.execute(*ADD, request_id="r1"))
            await it.counter.begun.wait()
            second = callers.create_task(it.execute(*ADD, request_id="r1"))
            with pytest.raises(InvalidArgumentError, match="in use for another command"):
                await it.execute("counter", "add", "2", request_id="r1")
            it.counter.pause.set()

    assert first.result() == second.result()
    assert it.counter.calls == 1


async def test_a_mutating_command_outlives_its_caller():
    """The caller's deadline passes or it goes away; the retry gets the result."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        with pytest.raises(DeadlineExceededError, match="outcome is unknown"):
            await it.execute(*ADD, within_s=0.01, request_id="r1")
        async with asyncio.TaskGroup() as callers:
            leaving = callers.create_task(it.execute(*ADD, request_id="r1"))
            await asyncio.sleep(0)
            leaving.cancel()
        it.counter.pause.set()
        answer = await it.execute(*ADD, request_id="r1")

    assert answer.stdout == "1"
    assert it.counter.calls == 1


async def test_what_a_dead_manager_began_is_not_run_by_its_successor():
    """Unless the command is declared idempotent."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        for words, name in ((ADD, "r1"), (("counter", "set"), "r2")):
            with pytest.raises(DeadlineExceededError):
                await it.execute(*words, within_s=0.01, request_id=name)
            await it.counter.begun.wait()
            it.counter.begun.clear()

        heir = Bench(await it.term.succeed())
        with pytest.raises(MayHaveRunError):
            await heir.execute(*ADD, request_id="r1")
        answer = await heir.execute("counter", "set", request_id="r2")

    assert heir.counter.calls == 1
    assert answer.retval == 0


async def test_a_module_that_took_nothing_leaves_the_request_free():
    """Its queue was full: the retry runs."""
    async with bench() as it:
        it.counter.failure = OverloadedError("full")
        with pytest.raises(OverloadedError):
            await it.execute(*ADD, request_id="r1")
        it.counter.failure = None
        answer = await it.execute(*ADD, request_id="r1")

    assert answer.stdout == "1"


async def test_an_exception_with_any_text_is_recorded():
    """The name of a file need not be UTF-8; the record of the result is."""
    async with bench() as it:
        it.counter.failure = ValueError("no file \udcff")
        first = await it.execute(*ADD, request_id="r1")
        second = await it.execute(*ADD, request_id="r1")

    assert "no file \\udcff" in first.stderr
    assert second.stderr == first.stderr
    assert it.counter.calls == 1


async def test_an_error_after_the_begin_is_no_licence_to_run_again():
    """The store fell silent inside the command: it may have done half of its work."""
    async with bench() as it:
        it.counter.failure = StoreUnavailableError("silent")
        with pytest.raises(OutcomeUnknownError, match="may have run in part"):
            await it.execute(*ADD, request_id="r1")
        it.counter.failure = None
        with pytest.raises(MayHaveRunError):
            await it.execute(*ADD, request_id="r1")

    assert it.counter.calls == 1


@pytest.mark.parametrize("fields", [{}, {"request_id": "r1"}], ids=["no id", "id"])
async def test_an_idempotent_command_that_met_a_silent_store_may_have_run_in_part(fields):
    """STORE_UNAVAILABLE would say that nothing ran. With its id it is run again, as ever."""
    async with bench() as it:
        it.counter.failure = StoreUnavailableError("silent")
        with pytest.raises(OutcomeUnknownError, match="'counter set' may have run in part: silent"):
            await it.execute("counter", "set", **fields)
        it.counter.failure = None
        answer = await it.execute("counter", "set", **fields)

    assert answer.retval == 0
    assert it.counter.calls == 2


@pytest.mark.parametrize("words", [ADD, ("counter", "set")], ids=["once", "idempotent"])
async def test_a_command_whose_start_the_silent_store_did_not_record_did_not_run(words):
    """The error is precise there: nothing ran, and who asks again is served."""

    class Silent:
        def __init__(self, journal):
            self.earlier_attempts = journal.earlier_attempts

        async def begin(self, *_, **__):
            raise StoreUnavailableError("silent")

    async with bench() as it:
        it.dispatcher.journal = Silent(it.journal)
        with pytest.raises(StoreUnavailableError) as caught:
            await it.execute(*words, request_id="r1")
        it.dispatcher.journal = it.journal
        answer = await it.execute(*words, request_id="r1")

    assert type(caught.value) is StoreUnavailableError
    assert answer.retval == 0
    assert it.counter.calls == 1


async def test_a_command_whose_term_was_lost_is_not_called_done():
    """What it changed in memory is gone with the term, with or without a request id."""
    async with bench(hold_s=0.01) as it:
        for fields in ({}, {"request_id": "r1"}):
            it.gate.open()
            it.counter.pause, it.counter.begun = asyncio.Event(), asyncio.Event()
            async with asyncio.TaskGroup() as callers:
                lost = callers.create_task(caught(it.execute(*ADD, **fields)))
                await it.counter.begun.wait()
                if fields:
                    await it.term.depose()
                it.gate.shut()
                it.counter.pause.set()
            assert isinstance(lost.result(), TermLostError)


async def test_a_result_that_is_not_recorded_needs_an_open_gate():
    """The record would have proven the term; without it the clock must."""

    class Unrecorded:
        def earlier_attempts(self, *_, **__):
            return EarlierAttempts()

        async def begin(self, *_, **__):
            return EarlierAttempts()

        async def finish(self, *_, **__):
            it.gate.shut()
            return False

    async with bench(hold_s=0.01) as it:
        it.dispatcher.journal = Unrecorded()
        with pytest.raises(TermLostError):
            await it.execute(*ADD, request_id="r1")


async def test_a_command_whose_time_ran_out_before_its_start_was_recorded_does_not_run():
    """The store took too long; a retry finds the id free."""

    class Slow:
        def __init__(self, journal):
            self.journal = journal
            self.earlier_attempts = journal.earlier_attempts
            self.go = asyncio.Event()

        async def begin(self, *args, **fields):
            await self.go.wait()
            return await self.journal.begin(*args, **fields)

    async with bench() as it:
        slow = it.dispatcher.journal = Slow(it.journal)
        slow.forget, slow.finish = it.journal.forget, it.journal.finish
        with pytest.raises(DeadlineExceededError):
            await it.execute(*ADD, within_s=0.01, request_id="r1")
        task = it.dispatcher._attempts["r1"].task
        it.clock.advance(1)
        slow.go.set()
        assert isinstance(await task, DeadlineExceededError)
        assert it.counter.calls == 0
        answer = await it.execute(*ADD, request_id="r1")

    assert answer.stdout == "1"


class Shuts:
    """A journal, during whose first write the term runs out."""

    def __init__(self, it):
        self.it = it
        self.earlier_attempts = it.journal.earlier_attempts
        self.forget, self.finish = it.journal.forget, it.journal.finish

    async def begin(self, *args, **fields):
        earlier = await self.it.journal.begin(*args, **fields)
        self.it.gate.shut()
        return earlier


async def test_a_command_does_not_begin_once_the_term_is_unproven():
    """Frozen while its start was recorded, it would act beside a successor."""
    async with bench(hold_s=0.01) as it:
        it.dispatcher.journal = Shuts(it)
        with pytest.raises(NotActiveError):
            await it.execute(*ADD, request_id="r1")
        assert it.counter.calls == 0
        it.gate.open()
        it.dispatcher.journal = it.journal
        answer = await it.execute(*ADD, request_id="r1")

    assert answer.stdout == "1"


async def test_a_command_begins_when_the_term_is_proven_again():
    """An election within etcd is a pause: nobody is refused for it."""
    async with bench() as it:
        it.dispatcher.journal = Shuts(it)
        async with asyncio.TaskGroup() as callers:
            waiting = callers.create_task(it.execute(*ADD, request_id="r1"))
            async with asyncio.timeout(5):
                while it.gate.is_open:  # noqa: ASYNC110 - the journal shuts it
                    await asyncio.sleep(0)
            assert it.counter.calls == 0
            it.gate.open()

    assert waiting.result().stdout == "1"


async def test_a_term_that_is_proven_again_in_time_lets_the_answer_out():
    """Suspended is not lost."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        async with asyncio.TaskGroup() as callers:
            waiting = callers.create_task(it.execute(*ADD))
            await it.counter.begun.wait()
            it.gate.shut()
            it.counter.pause.set()
            await asyncio.sleep(0)
            it.gate.open()

    assert waiting.result().stdout == "1"


async def test_a_command_that_finishes_while_draining_is_answered():
    """A hand-over waits for what runs."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        async with asyncio.TaskGroup() as callers:
            running = callers.create_task(it.execute(*ADD, request_id="r1"))
            await it.counter.begun.wait()
            it.gate.draining = True
            now_s = it.clock.now()
            assert not await it.dispatcher.idle(until_s=now_s + 0.01)
            it.counter.pause.set()
            assert await it.dispatcher.idle(until_s=now_s + 5)

    assert running.result().stdout == "1"
    assert it.dispatcher.running == 0


@pytest.mark.parametrize("step", ["begin", "finish"])
async def test_a_hand_over_waits_until_a_command_is_recorded(step):
    """Modules are not stopped under a command that is about to run, nor is its result lost."""

    class Slow:
        def __init__(self, journal):
            self.begin, self.finish, self.forget = journal.begin, journal.finish, journal.forget
            self.earlier_attempts = journal.earlier_attempts
            self.reached, self.go = asyncio.Event(), asyncio.Event()
            self.at_once = getattr(journal, step)
            setattr(self, step, self.slowly)

        async def slowly(self, *args, **fields):
            self.reached.set()
            await self.go.wait()
            return await self.at_once(*args, **fields)

    async with bench() as it:
        slow = it.dispatcher.journal = Slow(it.journal)
        async with asyncio.TaskGroup() as callers:
            running = callers.create_task(it.execute(*ADD, request_id="r1"))
            await slow.reached.wait()
            it.gate.draining = True
            now_s = it.clock.now()
            assert not await it.dispatcher.idle(until_s=now_s + 0.01)
            slow.go.set()
            assert await it.dispatcher.idle(until_s=now_s + 5)

    assert running.result().stdout == "1"


async def test_a_manager_that_gives_up_tells_those_who_wait():
    """Its tasks are cancelled; callers get "may have run"."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        async with asyncio.TaskGroup() as callers:
            waiting = callers.create_task(caught(it.execute(*ADD, request_id="r1")))
            await it.counter.begun.wait()
            it.dispatcher._attempts["r1"].task.cancel()

    assert isinstance(waiting.result(), TermLostError)


@pytest.mark.parametrize("name", ["a/b", "x" * 129, "é", "a b"])
async def test_a_request_id_is_a_plain_word(name):
    """It becomes part of a key."""
    async with bench() as it:
        with pytest.raises(InvalidArgumentError, match="request id"):
            await it.execute(*ADD, request_id=name)


async def caught(work):
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error
