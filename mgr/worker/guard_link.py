"""The worker's end of the link: what it says, what it hears, and that it dies with its guard."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from mgr import logs
from mgr.clock import Clock
from mgr.link import FromGuard, Message, Shutdown, WorkerHeartbeat, encode, from_guard

HEARTBEATS_PER_WATCHDOG: Final = 6
UNREAD_BYTES_MAX: Final = 1 << 16
"""Beyond this the guard is frozen: more heartbeats would only fill memory."""
_PR_SET_PDEATHSIG: Final = 1

log = logging.getLogger(__name__)


class Ages(NamedTuple):
    """How old a worker's last confirmed write and its copy of the store are; None: unknown."""

    write_s: float | None = None
    mirror_s: float | None = None


class GuardLink:
    """Messages to and from the guard."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock
    ) -> None:
        """Speak over a link that ``mgr.link.open_link`` opened."""
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self.on_lag: Callable[[float], None] = lambda _lag_s: None
        """Told with every heartbeat how late it was: that is the loop's lag, in seconds."""
        self.ages: Callable[[], Ages] = Ages
        """Asked with every heartbeat what it is to say of this worker's contact to the store."""
        self.on_message: Callable[[FromGuard], None] = _before_init
        """Told, on the loop, what the guard says."""

    def send(self, message: Message) -> None:
        """Tell the guard; never waits."""
        self._writer.write(encode(message))

    async def receive(self) -> NoReturn:
        """Hand on what the guard says; when it is gone, go as well, with all that was started."""
        while line := await self._reader.readline():
            self.on_message(from_guard(line))
        log.warning("the guard is gone")
        exit_now(1, with_group=True)

    async def send_heartbeats(self, watchdog_s: float) -> None:
        """Show that the loop turns, several times in ``watchdog_s``, for ever."""
        pause_s = watchdog_s / HEARTBEATS_PER_WATCHDOG
        while True:
            now_s = self._clock.now()
            if self._writer.transport.get_write_buffer_size() < UNREAD_BYTES_MAX:
                write_s, mirror_s = self.ages()
                self.send(WorkerHeartbeat(sent_s=now_s, write_age_s=write_s, mirror_age_s=mirror_s))
            await asyncio.sleep(pause_s)
            self.on_lag(max(0.0, self._clock.now() - now_s - pause_s))


def _before_init(message: FromGuard) -> None:
    """While nothing has begun there is nothing to hold on to, and only one order to follow."""
    if isinstance(message, Shutdown):
        exit_now(0)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    End-of-file on the link says the same, but only to an event loop that turns.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It went before the kernel knew; nobody would tell us.
        exit_now(1)


def dump_stacks_on_signal() -> None:
    """On SIGUSR1 write every thread's stack to standard error, from C, whoever holds the lock."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def exit_now(status: int, *, with_group: bool = False) -> NoReturn:
    """Flush what was logged and end the process, now.

    Not by ``sys.exit``: the interpreter would wait for threads of modules, which it cannot end.
    What modules started is the guard's to kill; ``with_group`` does it where there is no guard
    any more and this process leads its group.
    """
    logs.flush_all()
    sys.stdout.flush()
    sys.stderr.flush()
    if with_group and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(status)
