"""The loop that blocking clients share: no call waits for one that will never answer."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mgr.client.blocking import SharedLoop
from mgr.errors import InternalError, UnreachableError


@pytest.fixture
def shared():
    made = SharedLoop(check_interval_s=0.01)
    made.loop()
    yield made
    end(made)
    for task in asyncio.all_tasks(made._loop):
        task.cancel()
    made._loop.run_until_complete(made._loop.shutdown_asyncgens())
    made._loop.close()


def end(shared):
    shared._loop.call_soon_threadsafe(shared._loop.stop)
    shared._thread.join()


async def echo(value):
    return value


async def late():
    raise TimeoutError("its own")


def test_what_work_raises_is_its_own(shared):
    """A limit that was over inside is not taken for a call that takes its time."""
    assert shared.run(echo(5)) == 5
    with pytest.raises(TimeoutError, match="its own"):
        shared.run(late())


def test_the_loop_survives_what_would_end_it(shared, caplog):
    """A program's coroutine may call ``sys.exit`` in a task of its own."""

    def leave():
        raise SystemExit(3)

    shared.loop().call_soon_threadsafe(leave)

    assert shared.run(echo(5)) == 5
    assert [each.levelname for each in caplog.records] == ["ERROR"]


def test_a_call_does_not_outlive_the_loop(shared):
    """Whether what was asked for has run is unknown."""
    begun = threading.Event()

    async def stopping():
        begun.set()
        asyncio.get_running_loop().stop()
        await asyncio.Event().wait()

    with pytest.raises(InternalError, match="is gone"):
        shared.run(stopping())
    assert begun.is_set()


def test_without_the_loops_thread_nothing_is_begun(shared):
    """In a forked process it does not exist: a call fails at once, with the next step."""
    end(shared)

    with pytest.raises(UnreachableError, match="fork first"):
        shared.run(echo(2))


def test_on_the_loop_itself_waiting_for_it_is_refused(shared):
    """A coroutine handler that makes a blocking call would stop every daemon of the process."""

    async def handler():
        shared.run(echo(1))

    with pytest.raises(RuntimeError, match="would wait for itself"):
        shared.run(handler())
