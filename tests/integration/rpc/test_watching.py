"""``mgrctl --watch``: an answer again and again, through a failover, on a terminal or not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sys

import pytest

from mgr.command.dispatch import Answer
from tests.support.tree import ROOT

pytestmark = pytest.mark.slow  # real servers, and a program that repeats itself

WITHIN_S = 30


@pytest.fixture
def start(three, tmp_path):
    """Start mgrctl in a process of its own, with its output in a pipe or on a terminal."""
    environment = os.environ | {
        "MGR_HOSTS": ",".join(three.hosts),
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        "COLUMNS": "40",
        "LINES": "6",
    }

    @contextlib.asynccontextmanager
    async def started(*words, stdout=asyncio.subprocess.PIPE):
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mgr.cli.main", *words),
            env=environment,
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                yield program
        finally:
            if program.returncode is None:
                program.kill()
            await program.wait()

    return started


async def test_each_answer_is_printed_when_it_changes(start, three):
    """For a pipe; the successor's answers follow those of the active before."""
    active = three.promote("a", 5)
    active.said = Answer(0, "one")

    async with start("-p", "0.05", "echo", "x", "--watch") as program:
        lines = [await program.stdout.readline()]
        active.said = Answer(0, "two")
        lines.append(await program.stdout.readline())
        three.promote("b", 6).said = Answer(0, "three")
        lines.append(await program.stdout.readline())
        program.send_signal(signal.SIGINT)
        assert await program.wait() == 130

    assert lines == [b"one\n", b"two\n", b"three\n"]


async def test_without_an_active_the_reason_is_printed_once(start, three):
    """And the command goes on: the next active's answer comes as the others did."""
    three.promote("a", 5).said = Answer(0, "one")

    async with start("-p", "0.05", "--watch", "echo", "x") as program:
        assert await program.stdout.readline() == b"one\n"
        for manager in three.managers.values():
            manager.view.set(None)
        three["a"].role = three["b"].role
        three["a"].server.set_serving(False)
        said = await program.stderr.readline()
        three.promote("b", 6).said = Answer(0, "two")
        assert await program.stdout.readline() == b"two\n"
        program.send_signal(signal.SIGINT)
        assert await program.stderr.read() == b""

    assert said.startswith(b"mgrctl: no active manager")


async def test_a_terminal_is_redrawn_and_left_as_it_was(start, three):
    """Cut to its size, without what the answer could do to it."""
    long = "\n".join(f"line {number}" for number in range(9))
    three.promote("a", 5).said = Answer(0, f"\x1b[2J{'x' * 60}\n{long}", "", 5)
    master, slave = pty.openpty()
    loop = asyncio.get_running_loop()
    shown = b""

    async with start("-p", "0.05", "-w", "echo", "x", stdout=slave) as program:
        os.close(slave)
        while shown.count(b"more lines") < 2:
            shown += await loop.run_in_executor(None, os.read, master, 4096)
        program.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # how a terminal without programs ends
            while data := await loop.run_in_executor(None, os.read, master, 4096):
                shown += data
        assert await program.wait() == 130
    os.close(master)

    assert shown.startswith(b"\x1b[?1049h")
    assert shown.rstrip().endswith(b"\x1b[?1049l")
    assert b"echo x" in shown
    assert b"term 5" in shown
    assert b"... 7 more lines" in shown
    assert b"line 2" not in shown
    assert b"\x1b[2J" not in shown
    assert b"x" * 41 not in shown


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("count",), b"only reads; this one changes something"),
        (("tick",), b"only reads; this one repeats itself"),
        (("echo",), b"text"),
        (("nothing",), b"no command 'nothing'"),
    ],
)
async def test_what_cannot_be_watched_is_refused(start, three, words, text):
    """Before the screen is touched; nothing is changed once a second."""
    active = three.promote("a", 5)

    async with start("--watch", *words) as program:
        out, err = await program.communicate()

    assert (out, active.requests) == (b"", [])
    assert text in err
