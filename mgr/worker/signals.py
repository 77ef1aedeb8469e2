"""Signals that do not end the worker: only its guard and its reaper do, by SIGKILL.

A module can send them to the process that it runs in (``_thread.interrupt_main``,
``signal.alarm``), and an init system sends them to all processes of a service. The worker would be
gone without a hand-over, and with such a module every later one as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Final

IGNORED: Final = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
)

log = logging.getLogger(__name__)


def ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Log each of ``IGNORED`` from now on and do nothing else. Call it on the main thread.

    By handlers, and not by SIG_IGN, which the programs that modules start would inherit.
    """

    def ignore(number: int, _frame: object) -> None:
        # The only call of a loop that a handler may make: it may have interrupted the log.
        loop.call_soon_threadsafe(_log_ignored, signal.Signals(number).name)

    for each in IGNORED:
        signal.signal(each, ignore)
    # A child that a module forks without a new program is to end by ``Process.terminate()``.
    os.register_at_fork(after_in_child=_default_signals)


def _default_signals() -> None:
    for each in IGNORED:
        signal.signal(each, signal.SIG_DFL)


def _log_ignored(name: str) -> None:
    log.warning("signal ignored: the guard ends this worker", extra={"signal": name})
