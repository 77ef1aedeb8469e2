"""The crossing, with real threads and a real loop."""

import asyncio
import os
import sys
import threading

import pytest

from mgr.errors import (
    ModuleFailedError,
    OutcomeUnknownError,
    OverloadedError,
    TermLostError,
)
from mgr.host import bridge as bridge_file
from mgr.host.bridge import (
    Bridge,
    ModuleExitError,
    forbid_breakpoint,
    run_in_thread,
    thread_name,
)


@pytest.fixture
async def bridge():
    made = Bridge("hello", waiting_max=4)
    yield made
    made.close()


async def test_a_call_runs_on_the_command_thread_and_its_result_comes_back(bridge):
    """Commands, notifications and the constructor share one thread, named after the module."""
    name = await bridge.to_module(lambda: threading.current_thread().name)

    assert name == "hello-commands"


async def test_calls_run_one_at_a_time_and_in_order(bridge):
    """A module sees its commands as modules written for this interface expect."""
    seen = []
    answers = [bridge.to_module(lambda n=n: seen.append(n)) for n in range(4)]

    for answer in answers:
        await answer

    assert seen == [0, 1, 2, 3]


async def test_a_full_queue_refuses_and_says_so(bridge):
    """Nothing is queued without bound: the caller is told to come back."""
    go = threading.Event()
    waiting = [bridge.to_module(go.wait) for _ in range(4)]

    with pytest.raises(OverloadedError, match="'hello' has 4 commands waiting"):
        bridge.to_module(go.wait)

    go.set()
    for answer in waiting:
        await answer
    assert bridge.waiting == 0
    assert await bridge.to_module(lambda: "again") == "again"


async def test_a_call_whose_caller_is_gone_is_not_started(bridge):
    """A cancelled caller wants nothing any more."""
    go, ran = threading.Event(), []
    first = bridge.to_module(go.wait)
    second = bridge.to_module(lambda: ran.append("second"))

    second.cancel()
    go.set()
    await first
    await bridge.to_module(lambda: None)

    assert ran == []


async def test_an_exception_of_the_module_comes_out_where_it_is_awaited(bridge):
    """Nothing is swallowed between thread and loop."""
    with pytest.raises(ZeroDivisionError):
        await bridge.to_module(lambda: 1 / 0)


@pytest.mark.parametrize("fatal", [SystemExit(3), KeyboardInterrupt(), StopIteration()])
async def test_a_module_cannot_end_the_process_by_raising(bridge, fatal):
    """``sys.exit()`` in a command fails that command and nothing else."""

    def leave():
        raise fatal

    with pytest.raises(ModuleExitError, match=type(fatal).__name__):
        await bridge.to_module(leave)


async def test_a_module_thread_gets_what_the_loop_made(bridge):
    """A write returns on the module's thread what the store said."""

    async def work():
        return threading.current_thread() is threading.main_thread()

    assert await bridge.to_module(lambda: bridge.to_loop(work(), timeout_s=5)) is True


async def test_an_error_of_the_loop_reaches_the_module_as_it_is(bridge):
    """Even a time-out raised by the work itself is not taken for one of the crossing."""

    async def work():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await bridge.to_module(lambda: bridge.to_loop(work(), timeout_s=5))


async def test_what_ends_at_the_last_moment_has_ended(bridge, monkeypatch):
    """Its result, not a time-out: the write it stands for was done."""

    class AtTheLastMoment(bridge_file._Crossing):
        def wait(self, timeout_s):
            over = super().wait(timeout_s)
            if timeout_s:
                assert over
                self._over.release()
            return over and not timeout_s

    async def work():
        return "done"

    monkeypatch.setattr(bridge_file, "_Crossing", AtTheLastMoment)

    answer = await bridge.to_module(lambda: bridge.to_loop(work(), timeout_s=5))

    assert answer == "done"


async def test_a_crossing_that_takes_too_long_is_cancelled_and_its_outcome_is_unknown(bridge):
    """No module waits for ever for a store that is away."""
    cancelled = asyncio.Event()

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(OutcomeUnknownError, match=r"no answer within 0\.01 s"):
        await bridge.to_module(lambda: bridge.to_loop(work(), timeout_s=0.01))

    await cancelled.wait()


async def test_the_loop_may_not_wait_for_itself(bridge):
    """A bug of ours that would hang the manager fails at once instead."""

    async def work():
        return None

    with pytest.raises(AssertionError, match="very loop"):
        bridge.to_loop(work(), timeout_s=1)


async def test_a_closed_bridge_lets_nothing_through_in_either_direction(bridge):
    """An abandoned thread of a stopped module reaches neither loop nor store."""
    inside, go, caught = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    async def work():
        return "written"

    def stuck():
        loop.call_soon_threadsafe(inside.set)
        go.wait()
        try:
            bridge.to_loop(work(), timeout_s=1)
        except TermLostError as error:
            caught.append(str(error))

    running = bridge.to_module(stuck)
    waiting = bridge.to_module(lambda: "never")
    await inside.wait()
    bridge.close()
    go.set()
    await running

    assert caught == ["module 'hello' was stopped: the call did not run"]
    with pytest.raises(ModuleFailedError, match="was stopped"):
        await waiting
    with pytest.raises(ModuleFailedError, match="was stopped"):
        bridge.to_module(lambda: "late")


async def test_serve_has_a_thread_of_its_own(bridge):
    """A serve that blocks holds up no command."""
    stop, names = threading.Event(), []

    def serve():
        names.append(threading.current_thread().name)
        stop.wait()

    ended = bridge.start_serving(serve)
    assert await bridge.to_module(lambda: "answered") == "answered"

    stop.set()
    await ended
    assert names == ["hello-serve"]


async def test_what_serve_raises_is_known(bridge):
    """The host learns how a serve thread ended."""

    def serve():
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await bridge.start_serving(serve)


async def test_a_call_aside_does_not_hold_up_the_loop():
    """Imports take seconds; heartbeats go on."""
    go = threading.Event()
    importing = run_in_thread("import", go.wait)

    await asyncio.sleep(0)
    assert not importing.done()

    go.set()
    assert await importing is True


def test_a_thread_name_keeps_its_purpose():
    """The kernel cuts names at fifteen characters; the purpose must survive that."""
    assert thread_name("pg_autoscaler", "serve") == "pg_autosc-serve"
    assert len(thread_name("pg_autoscaler", "commands")) == 15


def test_a_breakpoint_says_where_to_debug(monkeypatch):
    """A manager has no terminal; who names a debugger that needs none gets it."""
    monkeypatch.setattr(sys, "breakpointhook", sys.breakpointhook)
    before = sys.breakpointhook
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    forbid_breakpoint()
    assert sys.breakpointhook is before

    monkeypatch.delenv("PYTHONBREAKPOINT")
    forbid_breakpoint()
    with pytest.raises(RuntimeError, match=r"needs a terminal.*mgr_host"):
        breakpoint()  # noqa: T100 - the point of the test


async def test_a_child_that_returns_from_a_call_is_ended(bridge, capfd):
    """One that a command forked, or ``serve``: the manager goes on once, in the parent."""
    called = await bridge.to_module(os.fork)
    served = await run_in_thread("hello-serve", os.fork, module="hello")

    for child in (called, served):
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
        assert os.waitstatus_to_exitcode(status) == 1
    said = capfd.readouterr().err
    assert said.count("module 'hello': a child that it forked returned from its code") == 2
