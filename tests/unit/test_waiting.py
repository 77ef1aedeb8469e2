"""Waiting with a limit, and waking everybody."""

from __future__ import annotations

import asyncio

import pytest

from mgr.waiting import Broadcast, SharedTimer, wait


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


async def ends_after(timer, seconds):
    """Wait for ever within a limit; how long that took."""
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError), timer.limit(seconds):
        await asyncio.Event().wait()
    return asyncio.get_running_loop().time() - began_s


async def test_each_block_of_a_shared_timer_ends_at_its_own_limit():
    """Whichever began first; one that had passed already ends at once."""
    timer = SharedTimer()
    async with asyncio.TaskGroup() as tasks:
        limits = (0.06, 0.02, 0.0, -1.0, 0.04)
        ended = [tasks.create_task(ends_after(timer, each)) for each in limits]
    assert all(task.result() >= each for task, each in zip(ended, limits, strict=True))


async def test_a_block_that_ended_in_time_is_not_ended_later():
    """Its timer goes on for the next one."""
    timer = SharedTimer()
    with timer.limit(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    assert await ends_after(timer, 0.01) >= 0.01


async def test_a_cancelled_task_stays_cancelled_in_a_block_that_is_over():
    """Whoever cancelled it waits for its end."""
    timer = SharedTimer()

    async def both():
        with timer.limit(0.0):
            task.cancel()
            await asyncio.Event().wait()

    task = asyncio.create_task(both())  # noqa: TID251 - it is awaited below
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_nested_blocks_end_each_by_its_own_limit():
    """The inner one's end is not the outer one's."""
    timer = SharedTimer()
    with timer.limit(60):
        assert await ends_after(timer, 0.01) >= 0.01
