"""Keeps signals that arrive before the guard can act on them.

Without a handler, SIGTERM ends a process at once, and the kernel drops it for process 1 of a
container, which then has to be killed. Others would end the guard without a hand-over.
"""

from __future__ import annotations

import signal
from typing import Final

STOP: Final = (signal.SIGTERM, signal.SIGINT)
RELOAD: Final = signal.SIGHUP
"""Reads certificate files again."""
WITHOUT_MEANING: Final = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Signals whose default action would end the guard. They are logged and otherwise ignored."""


class EarlySignals:
    """The stop signals that have arrived since ``catch``."""

    def __init__(self) -> None:
        self.stop_requested = False
        """Whether a stop signal arrived before the guard handled them itself."""

    def catch(self) -> None:
        """Keep stop signals from now on, and ignore the ones without meaning."""
        for number in STOP:
            signal.signal(number, self._on_stop)
        for number in (RELOAD, *WITHOUT_MEANING):
            # No SIG_IGN: the worker would inherit that.
            signal.signal(number, lambda *_: None)

    def _on_stop(self, *_: object) -> None:
        self.stop_requested = True
