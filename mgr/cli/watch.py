"""``--watch``: runs a command that only reads again and again, and redraws its answer.

It goes on through failovers: a new active is shown at once, and while there is none, ``status`` and
``health`` show what the managers say, and every other command its last answer with its age.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from mgr.cli import output, query, without_active
from mgr.cli.invocation import Invocation
from mgr.cli.run import STATES_S, arguments_of, check_words
from mgr.client.async_client import AsyncClient
from mgr.client.messages import Answer
from mgr.clock import CLOCK, utc_now
from mgr.errors import InvalidArgumentError, MgrError, UnreachableError
from mgr.text import for_terminal
from mgr.waiting import wait

ANSWER_S: Final = 2.0
"""How long one answer may take before the screen says that there is none."""
OPEN: Final = "\x1b[?1049h\x1b[?25l"
"""The second screen of the terminal, without its cursor: the first one comes back unchanged."""
CLOSE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
END_OF_LINE: Final = "\x1b[K"
END_OF_SCREEN: Final = "\x1b[J"
BOLD: Final = "\x1b[1m"
PLAIN: Final = "\x1b[m"


@dataclass(frozen=True, slots=True)
class Frame:
    """One answer to show; ``trouble`` is why it is not the active's present one, else empty."""

    text: str = ""
    trouble: str = ""
    term: int = 0


async def run(invocation: Invocation) -> int:
    """Repeat the command until interrupted; return the exit status if it is refused.

    Raises:
        MgrError: The command changes something, or its first run failed.

    """
    if invocation.out_file:
        raise InvalidArgumentError("--watch shows a command on the terminal: leave out -o FILE")
    async with AsyncClient(
        invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls
    ) as client:
        await _check_reads(client, invocation)
        first = await _first_answer(client, invocation)
        if isinstance(first, Answer) and first.retval < 0:
            return output.refusal(first.retval, first.stderr, invocation.format)
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_wake_at_failovers(client, changed))
            with _screen(invocation, changed) as screen:
                await _redraw(client, invocation, screen, changed)
    raise AssertionError("it is repeated until it is interrupted")


async def _check_reads(client: AsyncClient, invocation: Invocation) -> None:
    if without_active.has_answer(invocation.words):
        return
    entry = await check_words(client, invocation)
    if "w" in entry.perm or entry.poll:
        why = "changes something" if "w" in entry.perm else "repeats itself"
        raise InvalidArgumentError(f"--watch repeats a command that only reads; this one {why}")


async def _first_answer(client: AsyncClient, invocation: Invocation) -> Answer | None:
    """Run the command once before the screen changes, so that an error stays readable."""
    try:
        return await client.execute(invocation.words, arguments_of(invocation), changes=False)
    except UnreachableError:
        if without_active.has_answer(invocation.words):
            found = await client.statuses(timeout_s=STATES_S)
            if without_active.answered(found):
                return None
        raise


async def _wake_at_failovers(client: AsyncClient, changed: asyncio.Event) -> None:
    async with contextlib.aclosing(client.watch_active()) as leaders:
        async for _ in leaders:
            changed.set()


async def _redraw(
    client: AsyncClient, invocation: Invocation, screen: Screen, changed: asyncio.Event
) -> None:
    last, answered_s = Frame(), CLOCK.now()
    while True:
        changed.clear()
        frame = await _frame(client, invocation)
        if frame.text:
            last, answered_s = frame, CLOCK.now()
        else:
            age_s = CLOCK.now() - answered_s
            trouble = f"{frame.trouble}; below: the answer of {age_s:.0f} s ago"
            frame = Frame(last.text, trouble, last.term)
        screen.show(frame)
        await wait(changed, max(invocation.period_s, 0.1))


async def _frame(client: AsyncClient, invocation: Invocation) -> Frame:
    try:
        answer = await client.execute(
            invocation.words, arguments_of(invocation), timeout_s=ANSWER_S, changes=False
        )
    except MgrError as error:
        found = await client.statuses(timeout_s=STATES_S)
        leaderless = without_active.nobody_leads(found)
        trouble = without_active.summary(found) if leaderless else str(error)
        if leaderless and without_active.has_answer(invocation.words):
            form = "json" if invocation.query else invocation.format
            text = without_active.text(invocation.words, found, form)
            return Frame(_queried(text, invocation), trouble)
        return Frame("", trouble)
    if answer.retval < 0:
        return Frame("", answer.stderr or f"errno {-answer.retval}")
    return Frame(_queried(answer.text, invocation), term=answer.term)


def _queried(text: str, invocation: Invocation) -> str:
    return query.apply(invocation.query, text.encode()).decode() if invocation.query else text


class Screen:
    """Prints each frame that differs from the last one: for pipes and files."""

    def __init__(self, invocation: Invocation) -> None:
        """Begin with nothing printed."""
        self._quiet = invocation.quiet
        self._last = Frame()

    def show(self, frame: Frame) -> None:
        """Print ``frame`` if it is new."""
        before, self._last = self._last, frame
        if frame.trouble and not before.trouble and not self._quiet:
            output.to_stderr(f"mgrctl: {frame.trouble}\n")
        if frame.text != before.text:
            output.write(f"{frame.text.rstrip()}\n".encode())


class Terminal(Screen):
    """Draws each frame over the last one, cut to the size of the terminal."""

    def __init__(self, invocation: Invocation) -> None:
        """Head each frame with the words, unless ``-q`` was given."""
        super().__init__(invocation)
        self._words = " ".join(invocation.words)

    def show(self, frame: Frame) -> None:
        """Draw ``frame``."""
        size = shutil.get_terminal_size()
        lines = [for_terminal(line) for line in frame.text.splitlines()]
        if not self._quiet:
            term = f"   term {frame.term}" if frame.term else ""
            head = f"{self._words}   {utc_now().astimezone():%H:%M:%S}{term}"
            lines = [f"{BOLD}{head[: size.columns - 1]}{PLAIN}", frame.trouble, *lines]
        elif frame.trouble:
            lines = [frame.trouble, *lines]
        shown = lines[: size.lines]
        if len(lines) > size.lines:
            shown[-1] = f"... {len(lines) - size.lines + 1} more lines"
        drawn = "\n".join(f"{_cut(line, size.columns)}{PLAIN}{END_OF_LINE}" for line in shown)
        sys.stdout.write(f"{HOME}{drawn}{END_OF_SCREEN}")
        sys.stdout.flush()


def _cut(line: str, columns: int) -> str:
    """Return ``line`` without what would wrap; a line with colours is left as it is."""
    return line if "\x1b" in line else line[:columns]


@contextlib.contextmanager
def _screen(invocation: Invocation, changed: asyncio.Event) -> Iterator[Screen]:
    if not sys.stdout.isatty():
        yield Screen(invocation)
        return
    loop: Any = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    sys.stdout.write(OPEN)
    try:
        yield Terminal(invocation)
    finally:
        sys.stdout.write(CLOSE)
        sys.stdout.flush()
        loop.remove_signal_handler(signal.SIGWINCH)
