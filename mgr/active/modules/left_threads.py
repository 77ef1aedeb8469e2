"""Finds what modules that were stopped left running: threads that they started themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from mgr.clock import Clock
from mgr.host.bridge import module_threads

END_S: Final = 1.0
"""How long threads of a stopped module may take to end before they are named."""
POLL_EVERY_S: Final = 0.01


def left_threads(running: Collection[str]) -> tuple[str, ...]:
    """Describe the threads of each module that is not in ``running``, in the order of names."""
    return tuple(
        _describe(module, names)
        for module, names in sorted(module_threads().items())
        if module not in running
    )


async def wait_threads_ended(module: str, clock: Clock) -> str:
    """Wait up to ``END_S`` until threads of ``module`` have ended; describe those that have not."""
    end_s = clock.now() + END_S
    # Polling: Python has no event for the end of a thread.
    while (names := module_threads().get(module)) and clock.now() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY_S)
    return _describe(module, names) if names else ""


def _describe(module: str, names: list[str]) -> str:
    shown = ", ".join(sorted(names))
    return f"module '{module}' was stopped and threads that it started still run: {shown}"
