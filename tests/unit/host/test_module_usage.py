"""What a module uses is read from the kernel: by its threads, or by its process."""

from __future__ import annotations

import subprocess
import sys
import threading

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mgr.host import module_usage
from mgr.host.bridge import OWNER, run_in_thread
from mgr.host.module_usage import ModuleUsageCollector, Usage, usage


def samples(registry):
    """Name and module of each sample, and its value."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, sample.labels["module"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_module_in_threads_has_processor_time_and_threads_and_no_memory():
    """Those of its threads; the memory is the worker's."""
    begun, end = threading.Event(), threading.Event()

    def compute():
        while usage({}).get("busy", Usage()).cpu_s == 0:
            sum(range(100_000))
        begun.set()
        end.wait(30)

    ended = run_in_thread("busy-serve", compute, module="busy")
    await run_in_thread("wait", lambda: begun.wait(30))

    found = usage({})["busy"]
    end.set()
    await ended

    assert found.cpu_s > 0
    assert found.threads == 1
    assert found.memory_bytes is None


def test_a_module_in_a_process_has_all_three():
    """As the kernel counts them for the process."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = usage({"apart": process.pid})["apart"]
        process.stdin.close()
        process.wait(10)

    assert found.threads == 1
    assert found.memory_bytes > 0


def test_a_process_that_has_ended_is_left_out():
    """Its number may belong to another one soon."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(20)

    assert "apart" not in usage({"apart": process.pid})


def test_processor_time_never_falls(monkeypatch):
    """A module that starts again begins at zero: to Prometheus a fall would be a restart of all."""
    read = iter([5.0, 7.0, 1.0, 2.0])
    monkeypatch.setattr(module_usage, "usage", lambda _: {"m": Usage(next(read), 1)})
    registry = CollectorRegistry()
    ModuleUsageCollector(registry)

    totals = [samples(registry)["mgr_module_cpu_seconds_total", "m"] for _ in range(4)]

    assert totals == [5.0, 7.0, 8.0, 9.0]


def test_a_thread_is_counted_for_the_module_that_started_it():
    """Whoever marks it: the attribute is that of the bridge."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(30,))
    setattr(thread, OWNER, "marked")
    thread.start()

    found = usage({})
    end.set()
    thread.join(30)

    assert found["marked"].threads == 1
    assert "marked" not in usage({})
