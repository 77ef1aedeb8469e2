"""What the modules of this worker use of the machine: processor time, memory, threads.

Of a module in threads of the worker, processor time and threads are known; its memory is the
worker's. Of a module in a process of its own all three are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mgr.host.bridge import threads_of_modules
from mgr.host.process_usage import cpu_s_of_thread, quick_usage_of


@dataclass(slots=True)
class Usage:
    """What one module uses. ``memory_bytes`` is None if it is not known."""

    cpu_s: float = 0.0
    threads: int = 0
    memory_bytes: int | None = None


def usage(processes: Mapping[str, int]) -> dict[str, Usage]:
    """Return what each module uses now; ``processes`` has the process of each that has one."""
    found: dict[str, Usage] = {}
    for module, thread in threads_of_modules():
        cpu_s = cpu_s_of_thread(thread)
        if cpu_s is not None:
            entry = found.setdefault(module, Usage())
            entry.cpu_s += cpu_s
            entry.threads += 1
    for module, pid in processes.items():
        if used := quick_usage_of(pid):
            found[module] = Usage(used.cpu_s, used.threads, used.resident_bytes)
    return found


class ModuleUsageCollector(Collector):
    """Exports ``usage`` when metrics are read.

    Processor time of a thread that has ended is not counted any more, so the sum of a module is
    kept from falling: a counter that falls would look like a restart.
    """

    def __init__(
        self, registry: CollectorRegistry, processes: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        """Export to ``registry``; ``processes`` returns the modules' processes."""
        self.processes = processes
        self._counted: dict[str, tuple[float, float]] = {}
        """By module: the sum shown last, and what was read then."""
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """See ``prometheus_client``."""
        cpu, memory, threads = self.describe()
        found = usage(self.processes())
        self._counted = {name: each for name, each in self._counted.items() if name in found}
        for module, each in sorted(found.items()):
            cpu.add_metric([module], self._total_s(module, each.cpu_s))
            threads.add_metric([module], each.threads)
            if each.memory_bytes is not None:
                memory.add_metric([module], each.memory_bytes)
        yield from (cpu, memory, threads)

    def describe(self) -> tuple[CounterMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        """Return the metrics without samples."""
        return (
            CounterMetricFamily(
                "mgr_module_cpu_seconds",
                "Processor time of the module's threads, or of its process",
                labels=["module"],
            ),
            GaugeMetricFamily(
                "mgr_module_resident_bytes",
                "Memory of the module's process; none for a module in threads of the manager",
                labels=["module"],
            ),
            GaugeMetricFamily(
                "mgr_module_threads", "Threads that run the module's code", labels=["module"]
            ),
        )

    def _total_s(self, module: str, read_s: float) -> float:
        total_s, before_s = self._counted.get(module, (0.0, 0.0))
        total_s += read_s - before_s if read_s >= before_s else read_s
        self._counted[module] = total_s, read_s
        return total_s
