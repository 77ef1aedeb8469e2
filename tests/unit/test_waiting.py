"""Waiting with a limit, and waking everybody."""

from __future__ import annotations

import asyncio

import pytest

from mgr.waiting import Broadcast, wait


async def test_wait_ends_with_the_event_or_the_limit():
    """True if the event is set, False after the limit."""
    event = asyncio.Event()
    assert not await wait(event, 0.001)
    event.set()
    assert await wait(event, 0.0)


async def test_a_broadcast_wakes_all_who_wait_and_nobody_later():
    """Every waiting task wakes; one that comes later waits for the next time."""
    broadcast = Broadcast()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(broadcast.wait())
        await asyncio.sleep(0)
        broadcast.notify()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await broadcast.wait()


async def test_a_change_after_next_was_taken_is_not_missed():
    """The event is taken before the state is read, so that no change falls in between."""
    broadcast = Broadcast()
    changed = broadcast.next
    broadcast.notify()
    assert await wait(changed, 0.0)
