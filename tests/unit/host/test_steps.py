"""What modules do is recorded where the death of the process does not lose it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap

import pytest

from mgr.host import steps
from mgr.host.bridge import thread_ids
from mgr.worker_trace import (
    SIZE,
    STEPS_MAX,
    StepKind,
    WorkerTrace,
    own_exit,
    stacks_text,
    steps_in_progress,
)


@pytest.fixture
def memory(monkeypatch):
    """What this process would record its steps in."""
    made = bytearray(SIZE)
    monkeypatch.setattr(steps, "_tables", [steps.StepTable(made)])
    return made


def test_a_step_is_there_while_it_lasts(memory):
    """With its thread; the inner one began later, and both end, also by an exception."""
    with contextlib.suppress(KeyError), steps.record(StepKind.SERVE, "one"):
        with steps.record(StepKind.COMMAND, "two", "two ask"):
            outer, inner = steps_in_progress(memory)
        [left] = steps_in_progress(memory)
        raise KeyError

    assert (outer.kind, outer.module) == (StepKind.SERVE, "one")
    assert (inner.kind, inner.module, inner.detail) == (StepKind.COMMAND, "two", "two ask")
    assert (inner.thread, inner.native_id) == thread_ids()
    assert inner.number > outer.number
    assert left == outer
    assert steps_in_progress(memory) == []


def test_more_steps_than_there_is_room_for_are_not_recorded(memory):
    """And nothing else happens; what ends makes room again."""
    [table] = steps._tables
    places = [table.begin(StepKind.SERVE, "m") for _ in range(STEPS_MAX)]
    assert table.begin(StepKind.SERVE, "late") is None
    table.end(None)
    table.end(places[0])

    assert table.begin(StepKind.SERVE, "next") is not None
    assert len(steps_in_progress(memory)) == STEPS_MAX


def test_without_a_table_nothing_is_recorded(monkeypatch):
    """As in a test of a module."""
    monkeypatch.setattr(steps, "_tables", [])

    assert steps.recorded(StepKind.SERVE, "one", lambda: 3)() == 3


DIES = """
    import ctypes, os, sys
    from mgr.host import steps
    from mgr.worker_trace import StepKind
    steps.open_table(int(sys.argv[1]))
    child = os.fork()
    if not child:
        with steps.record(StepKind.COMMAND, "child"):
            ctypes.string_at(0)
    os.waitpid(child, 0)
    {before}
    with steps.record(StepKind.SERVE, "bad"):
        {dies}
"""


def run(dies, before=""):
    """What is left of a process that dies so."""
    trace = WorkerTrace()
    code = textwrap.dedent(DIES).format(dies=dies, before=before)
    try:
        subprocess.run(
            [sys.executable, "-P", "-c", code, str(trace.fd)],
            pass_fds=(trace.fd,),
            check=False,
            timeout=30,
            stderr=subprocess.DEVNULL,
        )
        return trace.read()
    finally:
        trace.close()


@pytest.mark.parametrize("dies", ["ctypes.string_at(0)", "os.abort()"])
def test_the_step_and_the_stack_outlive_a_fatal_signal(dies):
    """What a child died of, that a module had forked, is not among it."""
    left = run(dies)

    assert [step.module for step in steps_in_progress(left)] == ["bad"]
    assert stacks_text(left).count("Fatal Python error") == 1
    assert not own_exit(left)


def test_the_step_outlives_a_kill_and_an_exit():
    """Of those there is no stack; an exit that the manager decides is marked."""
    assert [step.module for step in steps_in_progress(run("os.kill(os.getpid(), 9)"))] == ["bad"]
    left = run("os._exit(3)")
    assert [step.module for step in steps_in_progress(left)] == ["bad"]
    assert not own_exit(left)
    assert own_exit(run("os._exit(1)", before="steps.record_exit()"))


def test_stacks_never_outgrow_the_memory():
    """A hundred dumps, of which the guard reads what has room."""
    dumps = "[faulthandler.dump_traceback(int(sys.argv[1])) for _ in range(5000)]"

    left = run(dumps, before="import faulthandler")

    assert len(left) == SIZE
    assert "most recent call first" in stacks_text(left)
