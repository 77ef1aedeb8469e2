"""Measures how long a thread of this process waits for the interpreter."""

from __future__ import annotations

import select
from pathlib import Path
from typing import Final

from mgr.clock import CLOCK

ROUNDS: Final = 10
PAUSE_S: Final = 0.002
SLACK_S: Final = 0.0001
"""How late the kernel wakes a thread on an idle machine."""


def interpreter_wait_ms() -> float:
    """Return how long a thread that wakes up here waits for the interpreter's lock, on average.

    Takes about a fiftieth of a second. Time that the thread waited for a processor is not counted,
    where the kernel tells it.
    """
    waited_s = 0.0
    for _ in range(ROUNDS):
        unscheduled_s, begun_s = _unscheduled_s(), CLOCK.now()
        # Without the interpreter: whoever returns from it has to get that first.
        select.select([], [], [], PAUSE_S)
        late_s = CLOCK.now() - begun_s - PAUSE_S - SLACK_S
        waited_s += max(0.0, late_s - (_unscheduled_s() - unscheduled_s))
    return waited_s / ROUNDS * 1e3


def _unscheduled_s() -> float:
    """Return how long this thread was ready to run and had no processor, since its start."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
