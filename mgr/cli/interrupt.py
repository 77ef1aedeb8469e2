"""Makes Ctrl-C end ``mgrctl`` without a traceback while it still imports its code."""

from __future__ import annotations

import gc
import os
import signal
from typing import Final

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C."""


def exit_at_once() -> None:
    """Let Ctrl-C end the process at once: for the time before and after the command."""
    signal.signal(signal.SIGINT, _exit)


def raise_again() -> None:
    """The imports are done: Ctrl-C raises ``KeyboardInterrupt``, and garbage is collected again.

    Nothing changes if ``exit_at_once`` was not called.
    """
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # ``main`` turned it off for the imports; ``-w`` and ``--period`` may run for days.
        gc.freeze()
        gc.enable()


def _exit(*_: object) -> None:
    os._exit(INTERRUPTED)
