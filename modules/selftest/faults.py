"""Deliberate faults: what a bad module can do to its manager."""

from __future__ import annotations

import collections
import enum
import itertools
import os
import threading
from collections.abc import Callable
from timeit import repeat
from typing import Final

CRASH_STATUS: Final = 120
_SAMPLE: Final = 500_000
_MARGIN: Final = 1.2


class Workload(enum.Enum):
    """The faults of ``serve``."""

    spin = "spin"
    throw = "throw"
    hang = "hang"


def crash() -> None:
    """End the process at once: nothing is flushed or reported."""
    os._exit(CRASH_STATUS)


def block(seconds: float) -> None:
    """Hold the interpreter lock for at least ``seconds``, roughly: no Python thread runs."""
    # One call into C that never releases the lock. The duration of a step is measured first: it
    # depends on the machine, and several calls would let other threads run in between.
    step_s = min(repeat(lambda: _swallow(_SAMPLE), number=1)) / _SAMPLE
    _swallow(int(seconds * _MARGIN / step_s))


def sleep(seconds: float) -> None:
    """Block the thread for ``seconds``; other threads run."""
    threading.Event().wait(seconds)


def work(workload: Workload, *, wanted: Callable[[], bool]) -> None:
    """Do ``workload`` while ``wanted()`` is true; ``hang`` never returns.

    Raises:
        RuntimeError: The workload was to throw.

    """
    if workload is Workload.throw:
        raise RuntimeError("selftest throws, as it was told to")
    if workload is Workload.hang:
        threading.Event().wait()
    while wanted():
        pass


def _swallow(steps: int) -> None:
    collections.deque(itertools.repeat(None, steps), maxlen=0)
