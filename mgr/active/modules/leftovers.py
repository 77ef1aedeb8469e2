"""Finds what modules that were stopped left behind: threads, processes, listening sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from mgr.clock import Clock
from mgr.host.bridge import module_threads
from mgr.host.module_resources import left_processes, left_sockets, unaccounted_processes

END_S: Final = 1.0
"""How long what a stopped module started may take to end before it is named."""
POLL_EVERY_S: Final = 0.01
KINDS: Final = (
    ("threads that it started still run", module_threads),
    ("processes that it started still run", left_processes),
    ("sockets that it opened still listen", left_sockets),
)


def leftovers(running: Collection[str]) -> tuple[str, ...]:
    """Describe what each module that is not in ``running`` left behind, in the order of names."""
    found = [(text, left()) for text, left in KINDS]
    modules = sorted({name for _, left in found for name in left} - set(running))
    return tuple(_describe(module, found) for module in modules)


async def wait_ended(module: str, clock: Clock) -> str:
    """Wait up to ``END_S`` until nothing of a stopped module is left; describe what is.

    Adds the processes of this worker that cannot be attributed to a module.
    """
    end_s = clock.now() + END_S
    # Polling: Python has no event for the end of a thread.
    while (text := _left_by(module)) and clock.now() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY_S)
    if orphans := unaccounted_processes():
        unknown = f"processes that some module started run without a parent: {', '.join(orphans)}"
        return f"{text}; {unknown}" if text else unknown
    return text


def _left_by(module: str) -> str:
    return _describe(module, [(text, left()) for text, left in KINDS])


def _describe(module: str, found: list[tuple[str, dict[str, list[str]]]]) -> str:
    parts = [f"{text}: {', '.join(sorted(left[module]))}" for text, left in found if module in left]
    return f"module '{module}' was stopped and {'; '.join(parts)}" if parts else ""
