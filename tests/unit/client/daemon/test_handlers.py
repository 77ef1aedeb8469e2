"""Whatever a program's own code raises is an answer, and reaches nothing else."""

from __future__ import annotations

import asyncio
import errno

import pytest

from mgr.client.daemon.handlers import Handlers
from mgr.client.daemon.serial_thread import SerialThread
from mgr.errors import InvalidArgumentError
from mgr.rpc.v1.command_pb2 import ExecuteRequest

TIMEOUT_S = 30


@pytest.fixture
def handlers():
    thread = SerialThread("commands")
    yield Handlers(thread)
    thread.close()


async def answer(handlers, *words):
    return await handlers.answer(ExecuteRequest(words=words), timeout_s=TIMEOUT_S)


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("x"),
        SystemExit("x"),
        asyncio.CancelledError("x"),
        BaseExceptionGroup("x", [SystemExit()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_a_handler_raises_is_answered(handlers, raised):
    """A coroutine's as well as a function's, also what would end a loop or a task."""

    @handlers.add("later")
    async def later():
        raise raised

    @handlers.add("now")
    def now():
        raise raised

    for word in ("later", "now"):
        response = await answer(handlers, word)

        assert response.retval == -errno.EINVAL
        assert type(raised).__name__ in response.stderr


@pytest.mark.parametrize("retval", [2**31, -(2**70)])
async def test_a_return_value_that_an_answer_cannot_hold_is_named(handlers, retval):
    """The author's mistake, not one of the library."""

    @handlers.add("large")
    def large():
        return retval, "", ""

    response = await answer(handlers, "large")

    assert response.retval == -errno.EINVAL
    assert response.stderr == "the handler returned a return value beyond 2147483647"


async def test_a_handler_that_is_cancelled_with_its_stream_is_not_answered(handlers):
    """The task's own end is no exception of the program."""
    begun = asyncio.Event()

    @handlers.add("hang")
    async def hang():
        begun.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(answer(handlers, "hang"))
        await begun.wait()
        task.cancel()

    assert task.cancelled()


async def test_ctrl_c_in_a_handler_ends_the_program(handlers):
    """On the main thread it is the user's, not the handler's."""

    @handlers.add("long")
    async def long():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await _passed_on(answer(handlers, "long"))


async def _passed_on(work):
    # Through a task it would end the test's loop.
    try:
        await work
    except BaseException as error:
        raise error from None


@pytest.mark.parametrize("descriptor", [f"drop {'x' * 4096}", "drop\x1b[2J"])
def test_a_command_that_a_manager_would_refuse_is_refused_where_it_is_made(handlers, descriptor):
    """Else the whole daemon would be thrown out for it."""
    with pytest.raises(InvalidArgumentError, match="printable characters"):
        handlers.add(descriptor)


async def test_help_lists_the_commands_of_the_program(handlers):
    """In the form in which ``mgrctl help`` lists those of the active."""

    @handlers.add("cache drop name=name,type=CephString", "Drop a cache")
    def drop(name):
        return name

    assert (await answer(handlers, "help")).stdout == b"cache drop <name>\n    Drop a cache\n"


async def test_a_programs_own_help_is_its_own(handlers):
    """It declared the word first."""

    @handlers.add("help")
    def own():
        return "mine"

    assert (await answer(handlers, "help")).stdout == b"mine"
