"""Commands travel both ways over a daemon's stream."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest

from mgr.client import AsyncDaemon, Daemon
from mgr.errors import ReplacedError, UnreachableError
from tests.support.fake_fleet import joined

pytestmark = pytest.mark.slow  # real servers, and waits that are the point


async def test_commands_reach_their_handlers(fleet, web, until):
    """Arguments by name, typed; answers as they are returned; input as ``inbuf``."""

    @web.command("cache drop name=what,type=CephString name=times,type=CephInt,req=false", "")
    def drop(what, times=1):
        return 0, f"dropped {what} {times + 1}", threading.current_thread().name

    @web.command("load", "")
    async def load(inbuf):
        return inbuf.upper()

    @web.command("whence", "")
    def whence(origin):
        return f"{origin.term} {origin.from_manager}"

    stream = await joined(fleet, until)

    assert (await stream.tell("whence")).stdout == b"0 False"  # a manager that does not say so
    answer = await stream.tell("cache", "drop", "all", "2")
    assert (answer.retval, answer.stdout) == (0, b"dropped all 3")
    assert answer.stderr == "web.eu-1-commands"
    assert (await stream.tell("cache", "drop", what="x", times=4)).stdout == b"dropped x 5"
    assert (await stream.tell("load", inbuf=b"text")).stdout == b"TEXT"


async def test_a_command_that_does_not_fit_is_refused_as_the_manager_does(fleet, web, until):
    """Missing and surplus arguments, unknown words."""
    web.command("cache drop name=what,type=CephString", "")(lambda what: what)
    stream = await joined(fleet, until)

    missing = await stream.tell("cache", "drop")
    unknown = await stream.tell("cache", "drip")
    surplus = await stream.tell("cache", "drop", "a", inbuf=b"x")

    assert missing.retval == unknown.retval == surplus.retval == -errno.EINVAL
    assert "missing required parameter <what" in missing.stderr
    assert unknown.stderr == "no command 'cache drip'; closest: 'cache drop'"
    assert "-i" in surplus.stderr


async def test_a_handler_that_raises_answers_with_the_traceback(fleet, web, until):
    """And disturbs nothing else."""

    @web.command("fail", "")
    def fail():
        raise ValueError("a broken disk")

    @web.command("quit", "")
    def leave():
        raise SystemExit(3)

    @web.command("quit later", "")
    async def leave_later():
        raise SystemExit(4)

    stream = await joined(fleet, until)

    failed, left = await stream.tell("fail"), await stream.tell("quit")
    later = await stream.tell("quit", "later")

    assert failed.retval == left.retval == later.retval == -errno.EINVAL
    assert "SystemExit: 4" in later.stderr
    assert failed.stderr.startswith("Traceback")
    assert "ValueError: a broken disk" in failed.stderr
    assert "SystemExit: 3" in left.stderr
    assert web.joined


async def test_a_handler_that_hangs_stops_no_report(fleet, web, until):
    """Its caller is answered in time; those behind it wait, a bounded number of them."""
    hold = threading.Event()
    web.command("hang", "")(hold.wait)
    stream = await joined(fleet, until)
    try:
        assert (await stream.tell("hang", timeout_s=0.05)).retval == -errno.ETIMEDOUT

        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(stream.tell("hang", timeout_s=0.3)) for _ in range(70)]
        answers = [each.result().retval for each in asked]

        assert -errno.EBUSY in answers
        assert set(answers) == {-errno.EBUSY, -errno.ETIMEDOUT}
        count = len(stream.reports)
        await until(lambda: len(stream.reports) > count)
    finally:
        hold.set()


async def test_the_managers_commands_come_over_the_same_stream(fleet, web, until):
    """Each under a request id of its own, so that it is applied once."""
    stream = await joined(fleet, until)

    answer = await web.execute("config set mgr x 1")

    assert answer.text == "config set mgr x 1"
    assert [len(each.request_id) for each in stream.calls] == [32]


async def test_a_command_waits_for_the_next_active(fleet, web, until):
    """Nobody leads; it is sent once somebody does."""
    await joined(fleet, until)
    fleet.lead(None)
    await until(lambda: not web.joined)

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(web.execute("status"))
        fleet.lead("b")

    assert (asked.result().text, asked.result().term) == ("status", fleet.term)


async def test_a_command_without_a_manager_fails_in_time(fleet, web, until):
    """With the reason for each address."""
    fleet.lead(None)
    await until(lambda: not web.joined)

    with pytest.raises(UnreachableError, match=r"no active manager within 0\.3 s"):
        await web.execute("status", timeout_s=0.3)


async def test_a_command_may_be_the_first_thing_in_the_block(fleet):
    """It waits for the membership, as long as it may."""
    async with AsyncDaemon("web", "eu-1", fleet.hosts) as daemon:
        assert (await daemon.execute("status")).text == "status"


async def test_a_command_may_be_the_first_thing_in_a_threads_block(fleet):
    """As above; the error names the time limit, not a missing membership."""

    def program():
        with Daemon("web", "eu-1", fleet.hosts) as daemon:
            answer = daemon.execute("status").text
        fleet.lead(None)
        with Daemon("web", "eu-2", fleet.hosts) as daemon, pytest.raises(UnreachableError) as late:
            daemon.execute("status", timeout_s=0.3)
        return answer, str(late.value)

    answer, late = await asyncio.get_running_loop().run_in_executor(None, program)

    assert answer == "status"
    assert "no active manager within 0.3 s" in late


async def test_a_command_outside_of_the_block_fails_at_once(fleet):
    """Nothing would ever send it."""
    daemon = AsyncDaemon("web", "eu-1", fleet.hosts)
    with pytest.raises(UnreachableError, match="not started"):
        await daemon.execute("status")
    async with daemon:
        pass
    with pytest.raises(UnreachableError, match="no longer a member"):
        await daemon.execute("status")


async def test_a_command_that_waits_fails_when_the_membership_ends(fleet, web, until):
    """Another program has the name: nobody will send it, so nobody waits for its limit."""
    await joined(fleet, until)
    fleet.lead(None)
    await until(lambda: not web.joined)

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_error_of(web.execute("status")))
        await asyncio.sleep(0)
        fleet["a"].refuses = [ReplacedError("another web.eu-1 has joined")]
        fleet.lead("a")

    assert "no longer a member" in str(asked.result())


async def _error_of(work):
    with pytest.raises(UnreachableError) as error:
        await work
    return error.value
