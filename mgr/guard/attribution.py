"""Finds the module that caused a worker's death, from what the worker recorded. Pure.

Nobody is accused on a guess: a worker in which six modules serve and which the kernel kills for
want of memory accuses none of them (docs/adr/0042 has the rules and why).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mgr.store.keys import NAME
from mgr.worker_trace import Step, StepKind, stacks_text, steps_in_progress

FATAL: Final = "Fatal Python error: "
"""How ``faulthandler`` begins at a fatal signal; not when the watchdog asked for the stacks."""
FATAL_SIGNALS: Final = frozenset({"SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL", "SIGSYS"})
WATCHDOG: Final = "watchdog"
OUT_OF_MEMORY: Final = "SIGKILL (out of memory)"
BUSY_SHARE_MIN: Final = 0.6
BUSY_NS_MIN: Final = 20_000_000
"""A thread that held the interpreter while the worker stood still used this part of the worker's
processor time, and at least so much of it, in nanoseconds."""
_LOADING: Final = frozenset({StepKind.IMPORT, StepKind.CONSTRUCT})

_THREAD: Final = re.compile(r"(Current thread|Thread) 0x([0-9a-f]+).*\(most recent call first\):")
_FRAME: Final = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stack."""

    file: str
    line: str
    function: str

    def __str__(self) -> str:
        """Write it as Python's tracebacks do."""
        return f'  File "{self.file}", line {self.line}, in {self.function}'


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of one thread, the innermost frame first.

    Attributes:
        crashed: The fatal signal came on this thread.

    """

    thread: int
    crashed: bool
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """What is known of a death.

    Attributes:
        module: Which module caused it; empty: that cannot be told.
        during: What the module was doing, in words; empty if that is not known.
        stack: The stack of the thread it died on, the innermost frame last; or of every thread.

    """

    module: str = ""
    during: str = ""
    stack: tuple[str, ...] = ()


class ModuleFolders:
    """Tells of which module a source file is."""

    def __init__(self, folders: Sequence[str]) -> None:
        """Take modules to be the folders in each of ``folders``."""
        # faulthandler writes other characters than ASCII like this.
        written = (str(Path(folder).absolute()) + "/" for folder in folders)
        self._prefixes = [each.encode("ascii", "backslashreplace").decode() for each in written]

    def module_of(self, file: str) -> str:
        """Return the module whose file that is; empty if it is none's."""
        for prefix in self._prefixes:
            if file.startswith(prefix):
                name, slash, _ = file.removeprefix(prefix).partition("/")
                return name if slash and NAME.fullmatch(name) else ""
        return ""


def accuse(
    content: bytes, how: str, folders: ModuleFolders, busy: Mapping[int, int] | None = None
) -> Suspect:
    """Say of which module a worker died.

    ``content`` is its trace, ``how`` as in ``WorkerDeath``; ``busy`` is how much
    processor time each of its threads used while it stood still, by the kernel's thread id.
    """
    if how in FATAL_SIGNALS:
        return _of_fatal_signal(stacks_text(content), steps_in_progress(content), folders)
    if how == WATCHDOG:
        steps = steps_in_progress(content)
        return _of_standstill(stacks_text(content), steps, folders, busy or {})
    if how == OUT_OF_MEMORY or how.startswith("exit"):
        # The manager itself records each exit that it decides: this one was somebody else's.
        return _of_loading(steps_in_progress(content))
    # Sent from outside: by an operator, an init system, or one module that nobody can name.
    return Suspect()


def stacks(text: str) -> list[Stack]:
    """Read what ``faulthandler`` wrote."""
    found = []
    headers = list(_THREAD.finditer(text))
    for header, following in zip(headers, [*headers[1:], None], strict=False):
        body = text[header.end() : following.start() if following else len(text)]
        frames = tuple(_frames(body))
        found.append(Stack(int(header[2], 16), header[1] == "Current thread", frames))
    return found


def _frames(body: str) -> Iterator[Frame]:
    for line in body.splitlines()[1:]:
        frame = _FRAME.fullmatch(line)
        if frame is None:
            return
        yield Frame(frame[1], frame[2], frame[3])


def _of_fatal_signal(text: str, steps: list[Step], folders: ModuleFolders) -> Suspect:
    _, fatal, dump = text.rpartition(FATAL)
    dumped = stacks(dump) if fatal else []
    crashed = next((stack for stack in dumped if stack.crashed), None)
    found = _of_thread(crashed, steps, folders) if crashed is not None else Suspect()
    if found.module:
        return found
    # The thread is nobody's: the kernel gives a signal that was sent to the process, by ``kill``,
    # to the main thread.
    loading = _of_loading(steps)
    threads = {step.thread for step in steps if step.module == loading.module}
    lines = next((_lines(stack) for stack in dumped if stack.thread in threads), found.stack)
    return Suspect(loading.module, loading.during, lines)


def _of_thread(stack: Stack, steps: list[Step], folders: ModuleFolders) -> Suspect:
    """Return the module whose code the thread ran: by its innermost frame, else its last step."""
    lines = _lines(stack)
    last = next((step for step in reversed(steps) if step.thread == stack.thread), None)
    named = (folders.module_of(frame.file) for frame in stack.frames)
    module = next((name for name in named if name), "")
    during = _words(last) if last is not None else ""
    if not module and last is not None:
        module = last.module
    if not module:
        return Suspect(stack=lines)
    return Suspect(module, during or "on a thread of its own", lines)


def _of_standstill(
    text: str, steps: list[Step], folders: ModuleFolders, busy: Mapping[int, int]
) -> Suspect:
    """Accuse the one thread that kept the processor while nothing else of the worker ran."""
    dumped = stacks(text)
    every = tuple(
        line for stack in dumped for line in (f"Thread {stack.thread:#x}:", *_lines(stack))
    )
    thread = _busy_thread(busy)
    holder = next((step for step in reversed(steps) if step.native_id == thread), None)
    if holder is None:
        loading = _of_loading(steps)
        return Suspect(loading.module, loading.during, every)
    stack = next((each for each in dumped if each.thread == holder.thread), None)
    if stack is None:
        return Suspect(holder.module, _words(holder), every)
    return _of_thread(stack, steps, folders)


def _busy_thread(busy: Mapping[int, int]) -> int:
    """Return the thread that used nearly all of the time that all of them used; 0 if none did."""
    total = sum(busy.values())
    thread = max(busy, key=lambda each: busy[each], default=0)
    most = busy.get(thread, 0)
    return thread if most >= max(BUSY_NS_MIN, BUSY_SHARE_MIN * total) else 0


def _of_loading(steps: list[Step]) -> Suspect:
    """Accuse a module that was being imported or constructed, if it was the only one."""
    loading = [step for step in steps if step.kind in _LOADING]
    if len({step.module for step in loading}) != 1:
        return Suspect()
    return Suspect(loading[-1].module, _words(loading[-1]))


def _lines(stack: Stack) -> tuple[str, ...]:
    """Return the innermost frame last, as in Python's tracebacks."""
    return tuple(str(frame) for frame in reversed(stack.frames))


def _words(step: Step) -> str:
    return f"{step.kind.words} {step.detail!r}" if step.detail else step.kind.words
