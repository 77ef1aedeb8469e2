"""Programs that an agent runs: each has an end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import psutil
import pytest

from mgr.agent import program as programs

LIMIT_S = 0.3
FAR_BELOW_S = 10
"""What the children below would take: a minute."""


async def test_a_program_that_does_not_end_is_killed():
    """And one that prints too much is cut short."""
    with pytest.raises(TimeoutError):
        await programs.run("sleep", "60", limit_s=LIMIT_S)

    status, output = await programs.run("head", "-c", "3000000", "/dev/zero")
    assert (status, len(output)) == (0, programs.OUTPUT_BYTES_MAX)


async def test_the_status_and_both_outputs_are_returned():
    """In the order in which they were written."""
    found = await programs.run("sh", "-c", "echo out; echo err >&2; exit 3")

    assert found == (3, "out\nerr\n")


@pytest.mark.parametrize("last", ["wait", "exit 0"])
async def test_what_a_program_left_behind_does_not_outlive_its_time(tmp_path, last):
    """It keeps the output open; it is of the program's group, and killed with it."""
    pid = tmp_path / "pid"

    async with asyncio.timeout(FAR_BELOW_S):
        with pytest.raises(TimeoutError):
            await programs.run("sh", "-c", f"sleep 60 & echo $! > {pid}; {last}", limit_s=LIMIT_S)
        await gone(int(pid.read_text()))


async def test_one_that_made_itself_a_group_keeps_nobody_waiting(tmp_path):
    """It cannot be found, so it is not killed; its output is no longer read."""
    pid = tmp_path / "pid"
    command = f"setsid sh -c 'echo $$ > {pid}; exec sleep 60' & wait"
    try:
        async with asyncio.timeout(FAR_BELOW_S):
            with pytest.raises(TimeoutError):
                await programs.run("sh", "-c", command, limit_s=LIMIT_S)
    finally:
        with contextlib.suppress(ProcessLookupError, OSError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


async def gone(pid):
    """Wait until a process is none, or a zombie that nobody has buried."""
    while psutil.pid_exists(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        await asyncio.sleep(0.01)
