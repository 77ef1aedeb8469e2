"""Counters of the host: processor, memory, file systems, disks, network."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Final

import psutil

from mgr.client.daemon.counters import Series
from mgr.client.daemon.program import Program

SKIPPED_DEVICES = ("loop", "ram", "zram", "dm-", "sr", "fd")
"""Block devices that are no disks: their traffic is counted again on the disk below."""

DESCRIPTIONS: Final = {
    "cpu_seconds": "Seconds that all processors together spent in a mode, since the host started",
    "load_1m": "Tasks that run or wait for a processor or a disk, averaged over a minute",
    "load_5m": "Tasks that run or wait for a processor or a disk, averaged over 5 minutes",
    "load_15m": "Tasks that run or wait for a processor or a disk, averaged over 15 minutes",
    "processes": "Processes on the host",
    "memory_total": "Physical memory",
    "memory_available": "Memory that programs can get without swapping",
    "memory_used": "Memory in use, without buffers and caches",
    "swap_total": "Swap space",
    "swap_used": "Swap space in use",
    "filesystem_size": "Size of a mounted file system",
    "filesystem_free": "Space of a mounted file system that users without privileges can get",
    "disk_read_bytes": "Bytes read from a disk",
    "disk_written_bytes": "Bytes written to a disk",
    "disk_reads": "Reads that a disk completed",
    "disk_writes": "Writes that a disk completed",
    "disk_busy_seconds": "Seconds in which a disk had at least one request",
    "network_received_bytes": "Bytes received on an interface",
    "network_sent_bytes": "Bytes sent on an interface",
    "network_errors": "Packets with errors on an interface, in both directions",
    "network_drops": "Packets dropped on an interface, in both directions",
}
"""What each counter of a host is, for the manager's help texts."""


class HostMetrics:
    """Reads the host's metrics into the counters of one program."""

    def __init__(self, program: Program) -> None:
        """Set counters and gauges of ``program``."""
        self._program = program
        self._totals: dict[Series, float] = {}
        self._seen: set[Series] = set()
        self._before: set[Series] = set()

    def read(self) -> None:
        """Read all metrics once. May block: a file system that hangs blocks the caller."""
        self._before, self._seen = self._seen, set()
        self._processor()
        self._memory()
        self._file_systems()
        self._disks()
        self._network()
        for gone in self._before - self._seen:
            # A disk that was pulled, an interface that was taken down.
            gone.remove()
            self._totals.pop(gone, None)

    def _processor(self) -> None:
        times = psutil.cpu_times()
        for mode in ("user", "system", "idle", "iowait", "steal"):
            self._total("cpu_seconds", getattr(times, mode, 0.0), {"mode": mode}, unit="seconds")
        for minutes, load in zip((1, 5, 15), os.getloadavg(), strict=True):
            self._level(f"load_{minutes}m", load)
        self._level("processes", len(psutil.pids()))

    def _memory(self) -> None:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        self._level("memory_total", memory.total, unit="bytes")
        self._level("memory_available", memory.available, unit="bytes")
        self._level("memory_used", memory.used, unit="bytes")
        self._level("swap_total", swap.total, unit="bytes")
        self._level("swap_used", swap.used, unit="bytes")

    def _file_systems(self) -> None:
        for part in psutil.disk_partitions(all=False):
            # Unmounted since it was listed, or not readable for this user.
            with contextlib.suppress(OSError):
                usage = psutil.disk_usage(part.mountpoint)
                labels = {"mount": part.mountpoint, "device": part.device}
                self._level("filesystem_size", usage.total, labels, unit="bytes")
                self._level("filesystem_free", usage.free, labels, unit="bytes")

    def _disks(self) -> None:
        for name, io in (psutil.disk_io_counters(perdisk=True) or {}).items():
            if name.startswith(SKIPPED_DEVICES):
                continue
            labels = {"disk": name}
            self._total("disk_read_bytes", io.read_bytes, labels, unit="bytes")
            self._total("disk_written_bytes", io.write_bytes, labels, unit="bytes")
            self._total("disk_reads", io.read_count, labels)
            self._total("disk_writes", io.write_count, labels)
            busy_ms = getattr(io, "busy_time", 0)
            self._total("disk_busy_seconds", busy_ms / 1000, labels, unit="seconds")

    def _network(self) -> None:
        for name, io in psutil.net_io_counters(pernic=True).items():
            labels = {"interface": name}
            self._total("network_received_bytes", io.bytes_recv, labels, unit="bytes")
            self._total("network_sent_bytes", io.bytes_sent, labels, unit="bytes")
            self._total("network_errors", io.errin + io.errout, labels)
            self._total("network_drops", io.dropin + io.dropout, labels)

    def _level(
        self, name: str, value: float, labels: dict[str, str] | None = None, *, unit: str = ""
    ) -> None:
        gauge = self._program.gauge(name, labels, unit=unit, description=DESCRIPTIONS[name])
        gauge.set(value)
        self._seen.add(gauge)

    def _total(
        self, name: str, value: float, labels: dict[str, str] | None = None, *, unit: str = ""
    ) -> None:
        counter = self._program.counter(name, labels, unit=unit, description=DESCRIPTIONS[name])
        # The kernel's totals are older than the agent, and restart at 0 with a device that comes
        # back: so differences are counted, and negative ones are not.
        counter.inc(max(0.0, value - self._totals.get(counter, 0.0)))
        self._totals[counter] = value
        self._seen.add(counter)


def busiest(count: int) -> Iterable[tuple[int, str, float, int]]:
    """Return the ``count`` processes with the most CPU time: pid, name, seconds, bytes."""
    found = []
    for process in psutil.process_iter(["pid", "name", "cpu_times", "memory_info"]):
        info = process.info
        times, memory = info["cpu_times"], info["memory_info"]
        if times is not None and memory is not None:
            found.append((info["pid"], info["name"], times.user + times.system, memory.rss))
    return sorted(found, key=lambda each: -each[2])[:count]
