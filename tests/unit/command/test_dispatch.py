"""One path for every command: find, validate, admit, run, shape the answer."""

from __future__ import annotations

import asyncio
import errno
import re
from dataclasses import replace

import pytest

from mgr.access.identity import Caller
from mgr.command.dispatch import Answer, to_answer
from mgr.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ModuleNotEnabledError,
    ModuleNotReadyError,
    NotActiveError,
    NotAuthorizedError,
    OverloadedError,
    UnknownCommandError,
)
from tests.support.dispatch_fakes import ADD, COMMANDS, Counter, bench

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
        ((2**31, "", ""), "returned a return value beyond 2147483647"),
        ((-(2**70), "", ""), "returned a return value beyond 2147483647"),
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
    assert to_answer((0, "a\udcff", ""), COMMANDS[0], 7).stdout == "a\\udcff"


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


async def test_the_arguments_of_a_caller_without_the_right_are_not_parsed():
    """It is refused before they are looked at, whatever they are."""
    async with bench() as it:
        await it.term.fenced.put(it.term.keys.access_of("ada"), 'allow command "counter show"')
        with pytest.raises(NotAuthorizedError):
            await it.execute("counter", "add", "many", caller=Caller("ada", "127.0.0.1"))


async def test_a_condition_on_an_argument_is_checked_once_it_is_parsed():
    """Before that, a grant with a condition counts as one that may fit."""
    ada = Caller("ada", "127.0.0.1")
    async with bench() as it:
        caps = 'allow command "counter add" with by=1'
        await it.term.fenced.put(it.term.keys.access_of("ada"), caps)
        with pytest.raises(InvalidArgumentError):
            await it.execute("counter", "add", "many", caller=ada)
        with pytest.raises(NotAuthorizedError):
            await it.execute("counter", "add", "2", caller=ada)
        assert (await it.execute("counter", "add", "1", caller=ada)).retval == 0


async def test_only_an_administrator_gets_a_traceback(caplog):
    """It shows paths and values of the host. Others get the error's name, the log has the rest."""
    async with bench() as it:
        access = it.term.access
        it.dispatcher = replace(it.dispatcher, is_admin=access.is_admin)
        await it.term.fenced.put(it.term.keys.access_of("ada"), "allow rw")
        await it.term.fenced.put(it.term.keys.access_of("root"), "allow *")
        it.counter.failure = TimeoutError("too slow")
        for _ in range(3):
            shown = await it.execute("counter", "show", caller=Caller("ada", "127.0.0.1"))
        full = await it.execute("counter", "show", caller=Caller("root", "127.0.0.1"))

    assert shown.stderr == (
        "'counter show' of module 'counter' failed with TimeoutError: the manager's log has the "
        "reason"
    )
    assert full.stderr.startswith("Traceback")
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == [
        "command raised"
    ]


@pytest.mark.parametrize("fields", [{}, {"request_id": "a" * 32}], ids=["plain", "recorded"])
@pytest.mark.parametrize("words", [("counter", "show"), ADD], ids=["read", "change"])
async def test_a_right_taken_away_while_a_command_waited_does_not_count(words, fields):
    """Nothing ran; with the right given back, the same request runs."""
    ada = Caller("ada", "127.0.0.1")
    async with bench() as it:
        entry = it.term.keys.access_of("ada")
        await it.term.fenced.put(entry, "allow *")
        it.gate.shut()

        async def execute():
            with pytest.raises(NotAuthorizedError, match="may not do"):
                await it.execute(*words, caller=ada, **fields)

        async with asyncio.TaskGroup() as callers:
            callers.create_task(execute())
            await asyncio.sleep(0)
            await it.term.fenced.delete(entry)
            it.gate.open()
        assert it.counter.calls == 0

        await it.term.fenced.put(entry, "allow *")
        assert (await it.execute(*words, caller=ada, **fields)).retval == 0


async def test_a_right_taken_away_while_a_start_was_recorded_does_not_count():
    """The record of the start is taken back: a retry that may run it is not refused."""
    ada = Caller("ada", "127.0.0.1")
    async with bench() as it:
        entry = it.term.keys.access_of("ada")
        await it.term.fenced.put(entry, "allow *")
        begin = it.journal.begin

        async def begin_slowly(*arguments, **options):
            found = await begin(*arguments, **options)
            await it.term.fenced.delete(entry)
            return found

        it.journal.begin = begin_slowly
        with pytest.raises(NotAuthorizedError):
            await it.execute(*ADD, caller=ada, request_id="a" * 32)
        it.journal.begin = begin
        await it.term.fenced.put(entry, "allow *")
        answer = await it.execute(*ADD, caller=ada, request_id="a" * 32)

    assert (answer.stdout, it.counter.calls) == ("1", 1)


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


async def test_a_read_that_ends_under_a_shut_gate_is_not_answered():
    """A successor may have acknowledged something newer. It may be asked: nothing was changed."""
    async with bench(hold_s=0.01) as it:
        it.counter.pause = asyncio.Event()

        async def shut_under_way():
            await it.counter.begun.wait()
            it.gate.shut()
            it.counter.pause.set()

        async with asyncio.TaskGroup() as others:
            others.create_task(shut_under_way())
            with pytest.raises(NotActiveError):
                await it.execute("counter", "show")


async def test_a_read_that_ends_under_a_shut_gate_is_answered_once_the_term_is_proven():
    """What it saw was true of this term all the time."""
    async with bench() as it:
        it.counter.pause = asyncio.Event()
        async with asyncio.TaskGroup() as callers:
            asked = callers.create_task(it.execute("counter", "show"))
            await it.counter.begun.wait()
            it.gate.shut()
            it.counter.pause.set()
            await asyncio.sleep(0)
            assert not asked.done()
            it.gate.open()

    assert asked.result().stdout == "0"


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
    assert it.dispatcher._queued == 0


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
        with pytest.raises(DeadlineExceededError, match="nothing was changed"):
            await it.execute("counter", "show", within_s=0.01)


@pytest.mark.parametrize("refusal", [ModuleNotReadyError("starting"), ModuleNotEnabledError("off")])
async def test_a_module_that_cannot_take_commands_refuses_itself(refusal):
    """Still starting, switched off, failed: nothing ran."""
    async with bench() as it:
        it.counter.starting = refusal
        with pytest.raises(type(refusal)):
            await it.execute(*ADD, request_id="r1")

    assert not it.term.mirror.list(it.term.keys.requests)


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
    monkeypatch.setattr("mgr.command.dispatch.QUEUED_MAX", 1)
    async with bench() as it:
        it.gate.shut()
        async with asyncio.TaskGroup() as callers:
            held = callers.create_task(it.execute("counter", "show"))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await it.execute("counter", "show")
            it.gate.open()

    assert held.result().retval == 0
