"""What the kernel tells of a worker."""

from __future__ import annotations

import os
import time

from mgr.guard.kernel_facts import oom_kills, thread_times, times_since


def test_a_thread_that_computes_uses_the_processor():
    """As much as it took; a process that is gone has no threads."""
    before = thread_times(os.getpid())
    end_s = time.thread_time() + 0.1
    while time.thread_time() < end_s:
        pass

    used = times_since(before, thread_times(os.getpid()))

    assert used[os.getpid()] >= 50_000_000
    assert thread_times(2**30) == {}


def test_the_number_of_processes_killed_for_want_of_memory_is_known():
    """Zero where the host keeps it secret."""
    assert oom_kills() >= 0
