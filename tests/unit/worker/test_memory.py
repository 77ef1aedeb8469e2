"""Freed memory goes back to the system, whenever it was freed."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

from mgr.worker import memory

MIB = 1 << 20
PIECE_BYTES = 64 << 10
PIECES = 1600


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the system tells nobody
            await asyncio.sleep(0.02)


async def test_what_is_freed_after_a_check_is_given_back_at_another(monkeypatch):
    """The process is then no larger than at the check before, which found it in use."""
    monkeypatch.setattr(memory, "CHECK_EVERY_S", 0.02)
    # What earlier tests have freed would be used again, and the process would not grow.
    ctypes.CDLL(None).malloc_trim(0)
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(memory.give_memory_back())
        await asyncio.sleep(0.1)
        before = resident_bytes()
        pieces = [b"x" * PIECE_BYTES for _ in range(PIECES)]
        await asyncio.sleep(0.1)
        assert resident_bytes() > before + 60 * MIB

        # One in a hundred stays, the last one of them at the end of the heap.
        pieces = pieces[99::100]
        await until(lambda: resident_bytes() < before + 30 * MIB)
        working.cancel()

    assert len(pieces) == PIECES // 100
