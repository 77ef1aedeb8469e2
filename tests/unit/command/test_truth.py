"""A refusal says "nothing ran" only where no attempt of the request ran, or can run later."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mgr.argument.descriptor import Signature
from mgr.command.dispatch import REPEAT_WITHIN_S
from mgr.command.journal import AGE_MAX_S, NO_ATTEMPT, Journal
from mgr.command.registry import Command
from mgr.command.request import Request
from mgr.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    MayHaveRunError,
    MgrError,
    ModuleFailedError,
    ModuleNotReadyError,
    NotActiveError,
    NotAuthorizedError,
    OverloadedError,
    UnknownCommandError,
)
from tests.support.clock import ManualClock
from tests.support.dispatch_fakes import ADD, COMMANDS, Bench, bench

FAILED = ModuleFailedError("its constructor raised")
SET = ("counter", "set")


async def successor(it):
    return Bench(await it.term.succeed())


async def begun_and_lost(it, *words):
    """Run ``words`` as r1 until it has begun; its term ends before it does. The successor."""
    it.counter.pause = asyncio.Event()
    with pytest.raises(DeadlineExceededError):
        await it.execute(*words, within_s=0.01, request_id="r1")
    await it.counter.begun.wait()
    return await successor(it)


async def refused(it):
    with pytest.raises(ModuleFailedError) as raised:
        await it.execute(*ADD, request_id="r1")
    return raised.value


async def refuse_everybody(it):
    def permit(_caller, _ask):
        raise NotAuthorizedError("access denied")

    it.dispatcher.permit = permit


async def test_a_result_is_the_answer_though_its_module_fails_by_now():
    """The answer was lost with its worker, and the module does not start on the successor."""
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        heir = await successor(it)
        heir.counter.starting = FAILED
        answer = await heir.execute(*ADD, request_id="r1")

    assert (answer.stdout, answer.term) == ("1", it.term.term)


async def test_without_the_journal_first_that_answer_is_nothing_ran(monkeypatch):
    """A broken build: the caller of a command that ran gets "module failed"."""
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        heir = await successor(it)
        heir.counter.starting = FAILED
        monkeypatch.setattr(Journal, "earlier_attempts", lambda *_, **__: NO_ATTEMPT)
        with pytest.raises(ModuleFailedError):
            await heir.execute(*ADD, request_id="r1")


@pytest.mark.parametrize("within_s", [None, 0, 1])
async def test_a_result_is_the_answer_though_no_command_is_admitted(within_s):
    """What is recorded is true whoever leads, and however late it is asked for."""
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        it.gate.shut()
        it.counter.starting = FAILED
        answer = await it.execute(*ADD, within_s=within_s, request_id="r1")

    assert answer.stdout == "1"


@pytest.mark.parametrize("words", [ADD, SET])
async def test_what_may_have_run_is_not_refused_as_what_never_ran(words):
    """Declared idempotent or not; the error says why it cannot be run now."""
    async with bench() as it:
        heir = await begun_and_lost(it, *words)
        heir.counter.starting = FAILED
        with pytest.raises(MayHaveRunError, match="may have run in part in term"):
            await heir.execute(*words, request_id="r1")


@pytest.mark.parametrize(
    ("refusal", "within_s"),
    [(FAILED, None), (ModuleNotReadyError("starting"), None), (OverloadedError("full"), 0)],
)
async def test_an_idempotent_command_that_may_have_run_is_refused_with_the_reason(
    refusal, within_s
):
    """It would be run again, if only its module took it."""
    async with bench() as it:
        heir = await begun_and_lost(it, *SET)
        heir.counter.starting = refusal
        with pytest.raises((MayHaveRunError, DeadlineExceededError)) as raised:
            await heir.execute(*SET, within_s=within_s, request_id="r1")

    assert "Nothing ran" not in str(raised.value)
    assert within_s == 0 or str(refusal) in str(raised.value)


async def test_a_runner_that_takes_nothing_does_not_erase_what_an_earlier_term_began():
    """Its queue is full: that says nothing of the first attempt, now or at the next one."""
    async with bench() as it:
        heir = await begun_and_lost(it, *SET)
        heir.counter.failure = OverloadedError("queue full")
        for _ in range(2):
            with pytest.raises(MayHaveRunError, match="queue full"):
                await heir.execute(*SET, request_id="r1")
        heir.counter.failure = None
        assert (await heir.execute(*SET, request_id="r1")).retval == 0


@pytest.mark.parametrize(("age_s", "runs"), [(0.0, 1), (REPEAT_WITHIN_S, 1), (61.0, 0)])
async def test_an_idempotent_command_is_run_again_soon_or_not_at_all(age_s, runs):
    """A client that was frozen for minutes would undo what others did meanwhile."""
    async with bench() as it:
        heir = await begun_and_lost(it, *SET)
        with contextlib.suppress(MayHaveRunError):
            await heir.execute(*SET, request_id="r1", age_s=age_s)

    assert heir.counter.calls == runs


async def held_for(it, seconds, *words, **fields):
    """The outcome of ``words`` as r1, held at a shut gate for so long after it arrived."""
    # Not the store's clock, by which the term would end.
    it.dispatcher.clock = clock = ManualClock()
    it.gate.shut()
    async with asyncio.TaskGroup() as callers:
        held = callers.create_task(outcome(it.execute(*words, request_id="r1", **fields)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert it.dispatcher._queued == 1
        clock.advance(seconds)
        it.gate.open()
    return held.result()


async def outcome(work):
    try:
        return await work
    except MgrError as error:
        return error


@pytest.mark.parametrize(("age_s", "runs"), [(0.0, 1), (REPEAT_WITHIN_S - 10, 1), (59.0, 0)])
async def test_the_time_for_which_a_repetition_is_held_counts(age_s, runs):
    """It arrives in time, and its minute is over when it could begin."""
    async with bench() as it:
        heir = await begun_and_lost(it, *SET)
        ended = await held_for(heir, 10.0, *SET, age_s=age_s)

    assert heir.counter.calls == runs
    assert isinstance(ended, MayHaveRunError) == (not runs)


@pytest.mark.parametrize(("seconds", "runs"), [(REPEAT_WITHIN_S - 1, 1), (REPEAT_WITHIN_S, 0)])
async def test_a_repetition_is_not_run_late_though_its_start_was_recorded_in_time(seconds, runs):
    """The term is unproven for the rest of its minute."""

    class Shuts:
        def __init__(self, journal):
            self.journal = journal
            self.earlier_attempts, self.finish = journal.earlier_attempts, journal.finish

        async def begin(self, *args, **fields):
            earlier = await self.journal.begin(*args, **fields)
            heir.gate.shut()
            clock.advance(seconds)
            asyncio.get_running_loop().call_soon(heir.gate.open)
            return earlier

    async with bench() as it:
        heir = await begun_and_lost(it, *SET)
        heir.dispatcher.clock = clock = ManualClock()
        heir.dispatcher.journal = Shuts(heir.journal)
        ended = await outcome(heir.execute(*SET, request_id="r1", age_s=1.0))

    assert heir.counter.calls == runs
    assert isinstance(ended, MayHaveRunError) == (not runs)


@pytest.mark.parametrize(("held_s", "runs"), [(AGE_MAX_S - 1.0, 1), (AGE_MAX_S + 1.0, 0)])
async def test_an_unknown_id_that_was_held_for_too_long_is_not_run(held_s, runs):
    """Its record may have been there when it was first sent, and have expired meanwhile."""
    async with bench() as it:
        ended = await held_for(it, held_s, *ADD)

    assert it.counter.calls == runs
    assert isinstance(ended, MayHaveRunError) == (not runs)


@pytest.mark.parametrize(
    "refuse",
    [
        lambda it: it.registry.drop("counter"),
        lambda it: it.registry.put(
            "counter",
            [Command(Signature.parse("counter add name=by,type=CephChoices,strings=x"), "", "rw")],
        ),
    ],
    ids=["unknown command", "other arguments"],
)
async def test_a_command_that_is_gone_by_now_still_ran(refuse):
    """The successor runs another release, or another version of the module."""
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        heir = await successor(it)
        refuse(heir)
        with pytest.raises(MayHaveRunError, match="its result is not shown"):
            await heir.execute(*ADD, request_id="r1")
        with pytest.raises(InvalidArgumentError):
            await heir.execute(*ADD, request_id="r2")


async def test_a_result_is_not_shown_to_who_may_not_run_the_command():
    """Nor is it said that nothing ran."""
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        await refuse_everybody(it)
        with pytest.raises(MayHaveRunError, match="not shown: access denied") as raised:
            await it.execute(*ADD, request_id="r1")
        with pytest.raises(NotAuthorizedError):
            await it.execute(*ADD, request_id="r2")
        with pytest.raises(NotAuthorizedError):  # another request: of that one nothing ran
            await it.execute("counter", "add", "5", request_id="r1")

    assert raised.value.term == it.term.term


async def test_a_second_attempt_is_not_refused_while_the_first_one_is_held():
    """The first one runs later: "nothing ran" would make its client issue a new request."""
    async with bench() as it:
        it.gate.shut()
        async with asyncio.TaskGroup() as callers:
            first = callers.create_task(it.execute(*ADD, request_id="r1"))
            await asyncio.sleep(0)
            it.registry.drop("counter")
            with pytest.raises(MayHaveRunError, match="under way; no command"):
                await it.execute(*ADD, request_id="r1")
            with pytest.raises(UnknownCommandError):  # another request: of that one nothing ran
                await it.execute("counter", "add", "5", request_id="r1")
            it.registry.put("counter", COMMANDS)
            second = callers.create_task(it.execute(*ADD, request_id="r1"))
            await asyncio.sleep(0)
            it.gate.open()

    assert first.result() == second.result()
    assert it.counter.calls == 1


async def test_a_second_attempt_shares_the_first_ones_refusal():
    """Joined, not judged by itself: of neither anything ran, and a third one may."""
    async with bench() as it:
        it.gate.shut()
        async with asyncio.TaskGroup() as callers:
            tasks = [callers.create_task(refused(it)) for _ in range(2)]
            await asyncio.sleep(0)
            it.counter.starting = FAILED
            it.gate.open()
        it.counter.starting = None
        third = await it.execute(*ADD, request_id="r1")

    assert [task.result() for task in tasks] == [FAILED, FAILED]
    assert third.stdout == "1"


async def test_a_held_command_is_left_out_once_nobody_waits_for_it():
    """Two callers: the first that leaves changes nothing, the second takes it along."""
    async with bench() as it:
        it.gate.shut()
        tasks = [it.term.tasks.create_task(it.execute(*ADD, request_id="r1")) for _ in "ab"]
        await asyncio.sleep(0)
        held = it.dispatcher._attempts["r1"].task
        for task in tasks:
            assert not held.cancelling()
            task.cancel()
            await asyncio.sleep(0)
        assert "r1" not in it.dispatcher._attempts
        it.gate.open()
        again = await it.execute(*ADD, request_id="r1")
        assert held.cancelled()

    assert again.stdout == "1"
    assert it.counter.calls == 1


async def test_a_command_that_is_held_for_too_long_says_that_nothing_ran():
    """Its only caller's time is over before it begins."""
    async with bench() as it:
        it.gate.shut()
        with pytest.raises((DeadlineExceededError, NotActiveError)) as raised:
            await it.execute(*ADD, within_s=0.01, request_id="r1")
        it.gate.open()
        answer = await it.execute(*ADD, request_id="r1")

    assert "unknown" not in str(raised.value)
    assert answer.stdout == "1"


async def test_a_refusal_of_a_read_asks_no_journal(monkeypatch):
    """Clients give an id to every command, for they do not know which of them change something."""
    async with bench() as it:
        await refuse_everybody(it)
        monkeypatch.setattr(Journal, "earlier_attempts", None)
        with pytest.raises(NotAuthorizedError):
            await it.execute("counter", "show", request_id="r1")
        with pytest.raises(UnknownCommandError):
            await it.execute("counter", "shew")


async def test_a_release_that_adds_a_default_knows_the_request_again():
    """The digest is made of what the client sent, not of what a release makes of it."""
    added = "counter add name=by,type=CephInt name=unit,type=CephString,req=false"
    async with bench() as it:
        await it.execute(*ADD, request_id="r1")
        heir = await successor(it)
        heir.registry.put("counter", [Command(Signature.parse(added), "", "rw", module="counter")])
        answer = await heir.execute(*ADD, request_id="r1")

    assert answer.stdout == "1"


def test_a_digest_tells_words_arguments_and_input_apart():
    """And nothing else: who asks, or how long it may take, is no other request."""
    requests = [
        Request(["a", "b"]),
        Request(["a b"]),
        Request(["a"], {"b": 1}),
        Request(["a"], {"b": "1"}),
        Request(["a"], {"b": True}),
        Request(["a", "b"], input=b"x"),
    ]
    same = Request(("a", "b"), deadline_s=5.0, request_id="r1", age_s=3.0)

    assert len({each.digest for each in requests}) == len(requests)
    assert same.digest == requests[0].digest
    assert Request([], {"b": 1, "c": 2}).digest == Request([], {"c": 2, "b": 1}).digest
