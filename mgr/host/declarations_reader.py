"""Reads the declarations of all modules within a time in which a worker must have started.

A module that only lies in a folder is read, too. However many of them never finish importing, the
others are read, and the manager starts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

L = TypeVar("L")
M = TypeVar("M")

PROCESSES_MAX: Final = max(2, min(4, os.cpu_count() or 1))
"""Modules that are begun at the same time: more would only take each one longer."""
TURN_S: Final = 1.0
"""How long a module that is being imported keeps the next one from being begun."""
SLACK_S: Final = 5.0
"""How much longer than one module all of them may take, from the start of the worker."""


def time_left_s(limit_s: float, elapsed_s: float) -> float:
    """Return the time to read all modules in, of which one may take ``limit_s``.

    ``elapsed_s``: since the start of the worker, whose guard replaces it if it is not ready in time
    (``START_SLACK_S``). However slow the machine is, the first modules are read.
    """
    return max(limit_s / 4, limit_s + SLACK_S - elapsed_s)


async def read_all(
    locations: Sequence[L], declare: Callable[[L], Coroutine[Any, Any, M]], within_s: float
) -> list[M | None]:
    """Read each location; None stands for one that was not read ``within_s`` from now."""
    turns = asyncio.Semaphore(PROCESSES_MAX)
    until_s = asyncio.get_running_loop().time() + within_s

    async def read(location: L) -> M | None:
        reading: asyncio.Task[M] | None = None
        try:
            async with asyncio.timeout_at(until_s):
                async with turns:
                    reading = tasks.create_task(declare(location))
                    await asyncio.wait({reading}, timeout=TURN_S)
                return await reading
        except TimeoutError:
            if reading is not None:
                reading.cancel()
            return None

    async with asyncio.TaskGroup() as tasks:
        every = [tasks.create_task(read(each)) for each in locations]
    return [each.result() for each in every]
