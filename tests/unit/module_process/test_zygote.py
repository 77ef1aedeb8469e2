"""The zygote, as a real process."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from mgr.clock import CLOCK
from mgr.module_process.start import spawn_zygote
from mgr.module_process.zygote_link import ZYGOTE_ENDED, ZygoteError


async def gone(pid):
    """Wait until the process is gone, or only to be collected."""
    async with asyncio.timeout(10):
        while runs(pid):  # noqa: ASYNC110 - it is nobody's child here
            await asyncio.sleep(0.01)


def runs(pid):
    """Whether the process exists and has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def threads(pid):
    """The threads of a process."""
    return [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]


def imported(pid):
    """The shared objects that a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


async def test_a_process_has_neither_grpc_nor_threads(processes):
    """It is forked before anything that a fork would break."""
    process = await processes.start("m")

    assert "grpc" not in imported(process.pid)
    assert "uvloop" not in imported(process.pid)
    assert threads(process.pid) == [process.pid]
    async with asyncio.timeout(10):
        while os.getsid(process.pid) != process.pid:  # noqa: ASYNC110 - it is just beginning
            await asyncio.sleep(0.01)


async def test_the_end_of_a_process_is_reported(processes):
    """By its signal; nobody else's is touched."""
    one, other = await processes.start("one"), await processes.start("other")

    os.kill(one.pid, signal.SIGABRT)

    async with asyncio.timeout(10):
        end = await one.ended
    assert end.how == "SIGABRT"
    assert not other.ended.done()
    assert await other.end()


async def test_everything_ends_with_the_worker(processes):
    """The zygote notices that its socket is closed."""
    process = await processes.start("m")

    processes.close()

    await gone(process.pid)
    async with asyncio.timeout(10):
        await process.ended


async def test_a_zygote_that_is_killed_takes_its_processes_along_and_is_replaced(processes):
    """The next process comes from another one."""
    process = await processes.start("m")
    zygote = processes._families[""]._end.pid

    os.kill(zygote, signal.SIGKILL)
    async with asyncio.timeout(10):
        await process.ended
    await gone(process.pid)
    following = await processes.start("m")

    assert processes._families[""]._end.pid != zygote
    assert not following.ended.done()


async def test_the_end_of_a_zygote_is_not_taken_for_the_deadline(processes):
    """A module can kill its parent; who reads the reason looks for it there."""
    processes.set_deadline(CLOCK.now() + 600)
    timed = await processes.start("timed", timed=True)

    os.kill(parent(timed.pid), signal.SIGKILL)
    async with asyncio.timeout(10):
        end = await timed.ended

    assert end.how == ZYGOTE_ENDED


async def test_timed_processes_end_at_the_deadline_and_others_do_not(processes):
    """And new ones are refused until there is another deadline."""
    processes.set_deadline(CLOCK.now() + 60)
    assert await processes.can_time()
    timed, other = await processes.start("timed", timed=True), await processes.start("other")

    processes.set_deadline(CLOCK.now() + 0.05)

    async with asyncio.timeout(10):
        end = await timed.ended
    assert not end.at_fault
    assert "the deadline of the term" in end.how
    assert not other.ended.done()
    with pytest.raises(ZygoteError, match=r"deadline of the term has passed|has ended"):
        await processes.start("timed", timed=True)
    processes.set_deadline(CLOCK.now() + 60)
    assert not (await processes.start("timed", timed=True)).ended.done()


async def test_a_zygote_that_is_stopped_is_killed_by_the_kernel_at_the_deadline(processes):
    """No Python code has to run for it."""
    processes.set_deadline(CLOCK.now() + 60)
    timed, other = await processes.start("timed", timed=True), await processes.start("other")
    zygote = parent(timed.pid)
    processes.set_deadline(CLOCK.now() + 0.5)
    # The answer shows that it has the deadline.
    await processes.start("more", timed=True)
    os.kill(zygote, signal.SIGSTOP)

    await gone(timed.pid)
    async with asyncio.timeout(10):
        end = await timed.ended

    assert "the deadline of the term" in end.how
    assert not other.ended.done()


def parent(pid):
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_zygote_that_nobody_uses_ends():
    """With its control socket."""
    end = spawn_zygote()

    end.close()

    with pytest.raises(ProcessLookupError):
        os.kill(end.pid, 0)
