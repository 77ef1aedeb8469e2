"""Whom a guard accuses of the death of its worker, and whom it does not."""

from __future__ import annotations

import pytest

from mgr.guard.attribution import OUT_OF_MEMORY, WATCHDOG, ModuleFolders, accuse
from mgr.worker_trace import HEADER_BYTES, OWN_EXIT, SIZE, STACKS_AT, STEP, StepKind, own_exit

FOLDERS = ModuleFolders(["/srv/modules", "/srv/straße"])
MAIN, SERVE, COMMANDS = 0x10, 0x20, 0x30
MS = 1_000_000


def trace(*steps, text=""):
    """What a worker left: ``steps`` are kind, module, thread, kernel's id."""
    content = bytearray(SIZE)
    for index, (kind, module, thread, native_id) in enumerate(steps):
        fields = (index + 1, thread, native_id, kind, module.encode(), b"")
        STEP.pack_into(content, HEADER_BYTES + index * STEP.size, *fields)
    content[STACKS_AT : STACKS_AT + len(text)] = text.encode()
    return bytes(content)


def stack(thread, *files, crashed=False):
    """One thread, as ``faulthandler`` writes it, the innermost file first."""
    kind = "Current thread" if crashed else "Thread"
    frames = "".join(f'  File "{file}", line 7 in run\n' for file in files)
    return f"{kind} 0x{thread:016x} (most recent call first):\n{frames}\n"


def fatal(*stacks):
    """A dump at a fatal signal."""
    return "Fatal Python error: Segmentation fault\n\n" + "".join(stacks)


BOTH = (
    (StepKind.SERVE, "one", SERVE, 2),
    (StepKind.COMMAND, "two", COMMANDS, 3),
)


def test_the_innermost_frame_of_a_module_is_accused():
    """``one`` called ``two``, which crashed in a library: it is ``two``, and the stack is kept."""
    text = fatal(
        stack(MAIN, "/usr/lib/asyncio.py"),
        stack(
            SERVE,
            "/usr/lib/ctypes/__init__.py",
            "/srv/modules/two/deep/er.py",
            "/srv/modules/one/module.py",
            crashed=True,
        ),
    )

    found = accuse(trace(*BOTH, text=text), "SIGSEGV", FOLDERS)

    assert (found.module, found.during) == ("two", "in serve()")
    assert found.stack[0] == '  File "/srv/modules/one/module.py", line 7, in run'
    assert found.stack[-1] == '  File "/usr/lib/ctypes/__init__.py", line 7, in run'


def test_a_folder_with_other_characters_than_ascii_is_known():
    """``faulthandler`` writes them escaped."""
    text = fatal(stack(SERVE, "/srv/stra\\xdfe/one/module.py", crashed=True))

    assert accuse(trace(text=text), "SIGSEGV", FOLDERS).module == "one"


def test_without_a_frame_the_step_of_that_thread_is_accused():
    """A module of an installed distribution stands in no folder that the guard knows."""
    text = fatal(stack(COMMANDS, "/usr/lib/site-packages/x.py", crashed=True))

    assert accuse(trace(*BOTH, text=text), "SIGBUS", FOLDERS).module == "two"


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("SIGSEGV", fatal(stack(MAIN, "/usr/lib/grpc.py", crashed=True))),
        ("SIGSEGV", ""),
        ("SIGKILL", ""),
        (OUT_OF_MEMORY, ""),
        ("exit status 3", ""),
        (WATCHDOG, stack(MAIN, "/usr/lib/grpc.py", crashed=True)),
    ],
)
def test_where_it_is_not_certain_no_module_is_accused(how, text):
    """The manager's own thread, a signal from outside, want of memory: modules only served."""
    assert accuse(trace(*BOTH, text=text), how, FOLDERS).module == ""


@pytest.mark.parametrize("kind", [StepKind.IMPORT, StepKind.CONSTRUCT])
@pytest.mark.parametrize("how", ["SIGILL", OUT_OF_MEMORY, "exit status 3"])
def test_the_only_module_that_is_being_loaded_is_accused(how, kind):
    """Whatever else serves; nobody, if two are being loaded, or if the signal was sent."""
    loading = (kind, "heavy", 0x40, 4)

    assert accuse(trace(*BOTH, loading), how, FOLDERS).module == "heavy"
    assert accuse(trace(loading, (kind, "too", 0x50, 5)), how, FOLDERS).module == ""
    assert accuse(trace(*BOTH, loading), "SIGKILL", FOLDERS).module == ""
    assert accuse(trace(*BOTH, loading), "SIGTERM", FOLDERS).module == ""


def test_who_kept_the_processor_while_the_worker_stood_still_is_accused():
    """If it is one thread of a module; not if several did, or the manager's own."""
    one, two = (f"/srv/modules/{name}/module.py" for name in ("one", "two"))
    text = stack(SERVE, one) + stack(COMMANDS, two)
    content = trace(*BOTH, text=text)

    found = accuse(content, WATCHDOG, FOLDERS, {1: MS, 2: 0, 3: 90 * MS})
    assert found.module == "two"
    assert found.stack == ('  File "/srv/modules/two/module.py", line 7, in run',)
    assert accuse(content, WATCHDOG, FOLDERS, {1: 90 * MS, 2: MS, 3: MS}).module == ""
    assert accuse(content, WATCHDOG, FOLDERS, {1: 2 * MS, 2: 50 * MS, 3: 50 * MS}).module == ""
    assert accuse(content, WATCHDOG, FOLDERS, {1: 0, 2: 0, 3: 2 * MS}).module == ""


def test_a_dump_for_the_watchdog_is_no_fatal_signal():
    """A worker that was silent, recovered and was later killed by a signal that left no stack."""
    text = stack(SERVE, "/srv/modules/one/module.py", crashed=True)

    assert accuse(trace(*BOTH, text=text), "SIGSEGV", FOLDERS).module == ""


@pytest.mark.parametrize("content", [b"", b"x", bytes(SIZE), b"\xff" * SIZE])
def test_whatever_stands_there_is_read(content):
    """A trace may be torn, or there may be none."""
    for how in ("SIGSEGV", WATCHDOG, "SIGKILL", "exit status 1"):
        assert accuse(content, how, FOLDERS).module == ""


def test_an_exit_that_the_manager_decided_is_known():
    """It is told from one that a library decided."""
    content = trace(*BOTH)

    assert not own_exit(content)
    assert own_exit(OWN_EXIT + content[len(OWN_EXIT) :])
