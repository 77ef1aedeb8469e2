"""Ctrl-C while ``mgrctl`` imports: the program ends, without the traceback of an import."""

from __future__ import annotations

import gc
import os
import signal
from typing import Final

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C."""


def exit_at_once() -> None:
    """From now on Ctrl-C ends the process at once: nothing runs yet, or nothing any more."""
    signal.signal(signal.SIGINT, _exit)


def raise_again() -> None:
    """End the time of the imports: Ctrl-C raises ``KeyboardInterrupt``, and garbage is collected.

    Nothing changes if ``exit_at_once`` was not called.
    """
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # ``main`` turned it off for the imports; ``-w`` and ``--period`` may run for days.
        gc.freeze()
        gc.enable()


def _exit(*_: object) -> None:
    os._exit(INTERRUPTED)
