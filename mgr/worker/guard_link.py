"""The worker's end of the link: messages, heartbeats, and the exit when the guard ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from mgr import logs
from mgr.clock import CLOCK, Clock
from mgr.host.steps import record_exit
from mgr.link import FromGuard, Message, Shutdown, WorkerHeartbeat, encode, from_guard

STARTED_S: Final = CLOCK.now()
"""When this process was started, on the clock: this is among the first that it imports."""
HEARTBEATS_PER_WATCHDOG: Final = 6
UNREAD_BYTES_MAX: Final = 1 << 16
"""Above this many unsent bytes the guard is frozen; more heartbeats would only fill memory."""
_PR_SET_PDEATHSIG: Final = 1
_exit: Final = os._exit
"""As it is before modules are imported: some modules of Ceph replace it."""

log = logging.getLogger(__name__)


class Ages(NamedTuple):
    """The ages of a worker's last confirmed write and of its copy of the store; None: unknown."""

    write_s: float | None = None
    mirror_s: float | None = None


class GuardLink:
    """Messages to and from the guard."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock
    ) -> None:
        """Use a link that ``mgr.link.open_link`` opened."""
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self.on_lag: Callable[[float], None] = lambda _lag_s: None
        """Called with every heartbeat with its delay, which is the lag of the loop, in seconds."""
        self.ages: Callable[[], Ages] = Ages
        """Called with every heartbeat for the ages to send in it."""
        self.on_message: Callable[[FromGuard], None] = _before_open
        """Called on the loop with each message from the guard."""

    def send(self, message: Message) -> None:
        """Send ``message`` to the guard; never waits."""
        self._writer.write(encode(message))

    async def receive(self) -> NoReturn:
        """Receive messages; when the guard has ended, exit, with everything that was started."""
        while line := await self._reader.readline():
            self.on_message(from_guard(line))
        log.warning("the guard is gone: the worker exits")
        exit_now(1, with_group=True)

    async def send_heartbeats(self, watchdog_s: float) -> None:
        """Send heartbeats, several in ``watchdog_s``; never returns.

        They are sent by the loop itself, so that a blocked loop sends none.
        """
        pause_s = watchdog_s / HEARTBEATS_PER_WATCHDOG
        while True:
            now_s = self._clock.now()
            if self._writer.transport.get_write_buffer_size() < UNREAD_BYTES_MAX:
                write_s, mirror_s = self.ages()
                self.send(WorkerHeartbeat(sent_s=now_s, write_age_s=write_s, mirror_age_s=mirror_s))
            await asyncio.sleep(pause_s)
            self.on_lag(max(0.0, self._clock.now() - now_s - pause_s))


def _before_open(message: FromGuard) -> None:
    """Handle a message before the worker is open: it only has to obey an order to exit."""
    if isinstance(message, Shutdown):
        exit_now(0)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    The end of the link would do the same, but only if the event loop is not blocked.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before the kernel knew of the request: no signal would come.
        exit_now(1)


def dump_stacks_on_signal(fd: int | None) -> None:
    """On SIGUSR1 write every thread's stack to ``fd``, even if a thread holds the GIL.

    None stands for standard error.
    """
    faulthandler.register(signal.SIGUSR1, file=sys.stderr if fd is None else fd, all_threads=True)


def exit_now(status: int, *, with_group: bool = False) -> NoReturn:
    """Flush the log and end the process now.

    Not by ``sys.exit``: the interpreter would wait for threads of modules, which it cannot end.
    The guard kills the processes that modules started; with ``with_group`` this process does it,
    if there is no guard any more and it is the leader of its process group.
    """
    record_exit()
    logs.flush_all()
    for stream in (sys.stdout, sys.stderr):
        # A module may have closed or replaced it.
        with contextlib.suppress(Exception):
            stream.flush()
    if with_group and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    _exit(status)
