"""Faults on purpose: what a bad module can do to its manager."""

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
    """What ``serve`` can be told to do."""

    spin = "spin"
    throw = "throw"
    hang = "hang"


def crash() -> None:
    """End the process here and now: nothing is flushed, nobody is told."""
    os._exit(CRASH_STATUS)


def block(seconds: float) -> None:
    """Hold the interpreter lock for at least ``seconds``, roughly: no Python thread runs."""
    # One call into C that never looks up. Measured first: how long a step takes depends on the
    # machine, and two calls in a row would let another thread in between them.
    step_s = min(repeat(lambda: _swallow(_SAMPLE), number=1)) / _SAMPLE
    _swallow(int(seconds * _MARGIN / step_s))


def sleep(seconds: float) -> None:
    """Keep the thread for ``seconds``, whatever happens; others run."""
    threading.Event().wait(seconds)


def work(workload: Workload, *, wanted: Callable[[], bool]) -> None:
    """Do ``workload`` as long as ``wanted``; ``hang`` goes on for ever.

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
