"""One path for every command: find, validate, admit, run at most once, shape the answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re

import pytest

from mgr.argument.descriptor import Signature
from mgr.clock import BootClock
from mgr.command.dispatch import Answer, Dispatcher, Request, shaped
from mgr.command.journal import Journal
from mgr.command.registry import Command, Registry
from mgr.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    MayHaveRunError,
    ModuleNotEnabledError,
    ModuleNotReadyError,
    NotActiveError,
    OutcomeUnknownError,
    OverloadedError,
    StoreUnavailableError,
    TermLostError,
    UnknownCommandError,
)
from tests.support.office import office

COMMANDS = (
    Command(Signature.parse("counter show"), "", "r", module="counter"),
    Command(Signature.parse("counter add name=by,type=CephInt"), "", "rw", module="counter"),
    Command(Signature.parse("counter set"), "", "rw", module="counter", idempotent=True),
)
ADD = ("counter", "add", "1")


class Gate:
    """Open, held shut or over, as a test says."""

    term = 7

    def __init__(self):
        self.is_open = True
        self.draining = False
        self.reopened = asyncio.Event()

    def admits(self):
        return self.is_open and not self.draining

    def holds(self):
        return self.is_open

    async def admitted(self, *, until_s):
        await self._wait(until_s, NotActiveError("b:1"))

    async def held(self, *, until_s):
        await self._wait(until_s, TermLostError("over"))

    def shut(self):
        self.is_open = False
        self.reopened.clear()

    def open(self):
        self.is_open = True
        self.reopened.set()

    async def _wait(self, until_s, refusal):
        try:
            async with asyncio.timeout(max(0.0, until_s - BootClock().now())):
                await self.reopened.wait()
        except TimeoutError:
            raise refusal from None


class Counter:
    """A module: counts; ``pause`` keeps a command inside until the test lets it go."""

    def __init__(self):
        self.value = 0
        self.calls = 0
        self.result = None
        self.failure = None
        self.starting = None
        self.pause = None
        self.begun = asyncio.Event()

    async def ready(self, *, until_s):
        if self.starting:
            raise self.starting

    async def run(self, command, arguments, inbuf, *, deadline_s):
        if isinstance(self.failure, OverloadedError):
            raise self.failure
        self.calls += 1
        self.begun.set()
        if self.pause:
            await self.pause.wait()
        if self.failure:
            raise self.failure
        self.value += arguments.get("by", 0)
        return self.result or (0, str(self.value), inbuf)


class Bench:
    """A dispatcher with everything a test turns."""

    def __init__(self, term, *, hold_s=1.0):
        self.term = term
        self.clock = BootClock()
        self.gate = Gate()
        self.counter = Counter()
        self.registry = Registry()
        self.registry.put("counter", COMMANDS)
        self.journal = self.book(term)
        self.dispatcher = Dispatcher(
            registry=self.registry,
            runner_of=lambda _: self.counter,
            gate=self.gate,
            journal=self.journal,
            clock=self.clock,
            tasks=term.tasks,
            hold_s=hold_s,
        )

    def book(self, term):
        return Journal(
            term.fenced, term.keys, term.mirror, term.store, term=term.term, clock=term.clock
        )

    async def execute(self, *words, within_s=None, **fields):
        deadline_s = None if within_s is None else self.clock.now() + within_s
        return await self.dispatcher.execute(Request(words, deadline_s=deadline_s, **fields))


@contextlib.asynccontextmanager
async def bench(**options):
    async with office() as term:
        yield Bench(term, **options)


# -- finding and shaping --------------------------------------------------------------------


async def test_a_command_runs_and_its_answer_names_the_term():
    """Words in, three values out."""
    async with bench() as it:
        answer = await it.execute("counter", "show", input="grüß".encode())

    assert answer == Answer(0, "0", "grüß", term=7)


async def test_nothing_runs_for_wrong_words_or_arguments():
    """Unknown command, missing argument, wrong type, input that is not text."""
    async with bench() as it:
        with pytest.raises(UnknownCommandError, match="counter show"):
            await it.execute("counter", "shwo")
        with pytest.raises(InvalidArgumentError, match="by"):
            await it.execute("counter", "add")
        with pytest.raises(InvalidArgumentError, match="many"):
            await it.execute("counter", "add", "many")
        with pytest.raises(InvalidArgumentError, match="byte 1 is 0xff"):
            await it.execute("counter", "show", input=b"a\xff")

    assert it.counter.calls == 0


async def test_an_exception_of_a_module_is_an_answer_with_its_traceback():
    """As Ceph does it: EINVAL and everything the author needs."""
    async with bench() as it:
        it.counter.failure = TimeoutError("too slow")
        answer = await it.execute("counter", "show")

    assert (answer.retval, answer.stdout) == (-errno.EINVAL, "")
    assert answer.stderr.startswith("Traceback (most recent call last)")
    assert answer.stderr.endswith("TimeoutError: too slow\n")


async def test_an_exception_that_cannot_be_printed_is_named():
    """A module's exception may itself be broken."""

    class BrokenError(Exception):
        def __str__(self):
            raise ValueError

    async with bench() as it:
        it.counter.failure = BrokenError()
        answer = await it.execute("counter", "show")

    assert answer.retval == -errno.EINVAL
    assert "BrokenError" in answer.stderr


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (["list"], "returned list"),
        ((0, "two"), "returned tuple"),
        ((0, b"bytes", ""), r"returned a tuple of \(int, bytes, str\)"),
        (("0", "", ""), r"returned a tuple of \(str, str, str\)"),
    ],
)
async def test_a_result_of_a_wrong_shape_is_named(result, said):
    """The author learns which command returned what."""
    async with bench() as it:
        it.counter.result = result
        answer = await it.execute("counter", "show")

    assert answer.retval == -errno.EINVAL
    assert "command 'counter show' of module 'counter'" in answer.stderr
    assert re.search(said, answer.stderr)


def test_text_that_cannot_be_sent_is_escaped():
    """A lone surrogate from a file name must not break the answer."""
    assert shaped((0, "a\udcff", ""), COMMANDS[0], 7).stdout == "a\\udcff"


# -- the gate, the module, the deadline ----------------------------------------------------------


async def test_a_command_is_held_while_the_term_is_unproven():
    """An etcd election is a pause, not a failure."""
    async with bench() as it:
        it.gate.shut()
        async with asyncio.TaskGroup() as callers:
            held = callers.create_task(it.execute("counter", "show"))
            await asyncio.sleep(0)
            assert it.counter.calls == 0
            it.gate.open()

    assert held.result().retval == 0


async def test_a_command_held_too_long_is_refused_and_did_not_run():
    """At most ``hold_s``, or the caller's time if that is shorter."""
    async with bench(hold_s=0.01) as it:
        it.gate.shut()
        with pytest.raises(NotActiveError, match="ask b:1"):
            await it.execute("counter", "show")
    async with bench(hold_s=60) as it:
        it.gate.shut()
        with pytest.raises(NotActiveError):
            await it.execute("counter", "show", within_s=0.01)

    assert it.counter.calls == 0


async def test_nothing_begins_while_the_manager_drains():
    """What would run now would be cut off."""
    async with bench(hold_s=0.01) as it:
        it.gate.draining = True
        with pytest.raises(NotActiveError):
            await it.execute("counter", "show")


async def test_a_caller_that_leaves_while_held_leaves_nothing_behind():
    """A command whose caller is gone is not started."""
    async with bench() as it:
        it.gate.shut()
        async with asyncio.TaskGroup() as callers:
            gone = callers.create_task(it.execute(*ADD, request_id="r1"))
            await asyncio.sleep(0)
            gone.cancel()
        it.gate.open()
        await asyncio.sleep(0)

    assert it.counter.calls == 0
    assert it.dispatcher._held == 0


async def test_a_command_whose_time_is_over_is_not_begun():
    """The message says that nothing ran."""
    async with bench() as it:
        with pytest.raises(DeadlineExceededError, match="Nothing ran"):
            await it.execute("counter", "show", within_s=-1)

    assert it.counter.calls == 0


async def test_a_running_read_is_given_up_at_the_deadline():
    """The outcome is unknown, and the message says so."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        with pytest.raises(DeadlineExceededError, match="outcome is unknown"):
            await it.execute("counter", "show", within_s=0.01)


@pytest.mark.parametrize("refusal", [ModuleNotReadyError("starting"), ModuleNotEnabledError("off")])
async def test_a_module_that_cannot_take_commands_refuses_itself(refusal):
    """Still starting, switched off, failed: nothing ran."""
    async with bench() as it:
        it.counter.starting = refusal
        with pytest.raises(type(refusal)):
            await it.execute(*ADD, request_id="r1")

    assert term_has_no_request(it)


async def test_the_gate_is_looked_at_again_when_the_module_is_ready():
    """It may have shut while the module was starting."""

    class Slow(Counter):
        async def ready(self, *, until_s):
            it.gate.shut()

    async with bench(hold_s=0.01) as it:
        it.counter = Slow()
        with pytest.raises(NotActiveError):
            await it.execute("counter", "show")

    assert it.counter.calls == 0


async def test_too_many_held_commands_are_refused(monkeypatch):
    """Every queue has a length."""
    monkeypatch.setattr("mgr.command.dispatch.HELD_MAX", 1)
    async with bench() as it:
        it.gate.shut()
        async with asyncio.TaskGroup() as callers:
            held = callers.create_task(it.execute("counter", "show"))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await it.execute("counter", "show")
            it.gate.open()

    assert held.result().retval == 0


# -- at most once --------------------------------------------------------------------------------


def term_has_no_request(it):
    return not it.term.mirror.under(it.term.keys.requests)


async def test_a_retry_is_answered_and_not_run():
    """A counter never counts twice."""
    async with bench() as it:
        first = await it.execute(*ADD, request_id="r1")
        again = await it.execute("counter", "add", arguments={"by": 1}, request_id="r1")

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
        async def begin(self, *_, **__):
            return None

        async def finish(self, *_):
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
        slow.go.set()
        assert isinstance(await task, DeadlineExceededError)
        assert it.counter.calls == 0
        answer = await it.execute(*ADD, request_id="r1")

    assert answer.stdout == "1"


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


async def test_a_manager_that_gives_up_tells_those_who_wait():
    """Its tasks are cancelled; callers hear that the command may have run."""
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
