"""The limits of one module: how long it may take to stop, its pauses, the length of its queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits and queue limit of one module. Durations are in seconds.

    Attributes:
        stop_s: For ``shutdown()`` and calls that still run; then the module is abandoned.
        pause_s: Pause before the first restart; doubled with each further one.
        pause_max_s: Longest pause.
        probation_s: A restarted module that runs this long is healthy again.
        commands_max: Calls that may wait for its command thread.
        may_begin: Whether a command may begin at this moment. Called on the command thread.

    """

    stop_s: float = 2.0
    pause_s: float = 1.0
    pause_max_s: float = 60.0
    probation_s: float = 10.0
    commands_max: int = 256
    may_begin: Callable[[], bool] = lambda: True
