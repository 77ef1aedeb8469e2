"""Hosts on virtual time: each has a clock of its own, and timers follow it."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.virtual_loop import (
    KERNEL,
    START_S,
    HostClock,
    VirtualClock,
    VirtualLoop,
    context_of,
)


@pytest.fixture
def loop():
    loop = VirtualLoop(VirtualClock())
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def woken(loop, process, seconds):
    """Have ``process`` sleep so long; when it woke, on the world's clock, once it did."""
    times = []
    context = context_of(process)
    context.run(loop.call_later, seconds, lambda: times.append(loop.clock.now_s - START_S))
    return times


def passes(loop, seconds):
    loop.run_until_complete(asyncio.sleep(seconds))


def test_a_paused_host_does_not_see_the_pause(loop):
    """Its clock stands still, and what it waits for comes so much later."""
    times = woken(loop, "a/worker", 3.0)
    other = woken(loop, "b", 3.0)
    passes(loop, 1.0)
    loop.pause("a")
    passes(loop, 10.0)
    assert HostClock(loop, "a").now() == pytest.approx(START_S + 1.0)
    assert HostClock(loop, "b").now() == pytest.approx(START_S + 11.0)

    loop.resume("a")
    passes(loop, 5.0)

    assert HostClock(loop, "a").now() == pytest.approx(START_S + 6.0)
    assert times == [pytest.approx(13.0)]
    assert other == [pytest.approx(3.0)]


def test_a_frozen_host_sees_how_long_it_was(loop):
    """Its clock goes on, and what it waited for is there when it wakes; its kernel never sleeps."""
    times, kernel = woken(loop, "a", 3.0), woken(loop, f"a{KERNEL}", 3.0)
    loop.freeze("a")
    passes(loop, 10.0)
    assert times == []
    assert kernel == [pytest.approx(3.0)]

    loop.thaw("a")
    passes(loop, 0.1)

    assert times == [pytest.approx(10.0)]


def test_a_kernels_timer_does_not_count_a_pause_either(loop):
    """A hypervisor stops all of the machine."""
    times = woken(loop, f"a{KERNEL}", 3.0)
    loop.pause("a")
    passes(loop, 10.0)
    assert times == []

    loop.resume("a")
    passes(loop, 4.0)

    assert times == [pytest.approx(13.0)]


def test_of_a_process_frozen_alone_the_children_go_on(loop):
    """As with SIGSTOP of one process."""
    parent, child = woken(loop, "a", 1.0), woken(loop, "a/worker", 1.0)
    loop.freeze("a", alone=True)
    passes(loop, 2.0)

    assert (parent, child) == ([], [pytest.approx(1.0)])
    loop.thaw("a")
    passes(loop, 0.1)
    assert parent == [pytest.approx(2.0)]


def test_a_fast_clock_wakes_early(loop):
    """From when on it is fast."""
    passes(loop, 1.0)
    loop.set_rate("a", 2.0)
    times = woken(loop, "a", 3.0)
    passes(loop, 4.0)

    assert times == [pytest.approx(2.5)]
    assert HostClock(loop, "a").now() == pytest.approx(START_S + 9.0)
    assert loop.world_time("a", START_S + 11.0) == pytest.approx(START_S + 6.0)
