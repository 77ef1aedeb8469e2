"""Reports watched systemd units and processes, each as a daemon of its own."""

from __future__ import annotations

import asyncio
from typing import Final

import psutil

from mgr.agent.program import run
from mgr.agent.settings import Watch
from mgr.client.daemon.program import Program
from mgr.errors import OverloadedError

PROPERTIES: Final = (
    "LoadState", "ActiveState", "SubState", "Result", "MainPID", "NRestarts",
    "MemoryCurrent", "CPUUsageNSec", "ActiveEnterTimestamp",
)  # fmt: skip
NOT_SET: Final = (1 << 64) - 1
"""The number that systemd prints for an unknown value."""
DESCRIPTIONS: Final = {
    "active": "Whether systemd calls the unit active: 1",
    "restarts": "How often systemd restarted the unit by itself",
    "processes": "Processes of that name",
    "memory": "Memory of all processes of the unit, or of that name",
    "cpu_seconds": "Processor time of all processes of the unit, or of that name",
}
"""What each counter of a unit or process is, for the manager's help texts."""
LIMIT_S: Final = 10.0
"""Time limit for one call of systemctl, or for reading all processes."""


async def sample(watch: Watch, program: Program) -> None:
    """Report the state of the watched unit or process as that of ``program``.

    Raises:
        OSError: systemctl cannot be run, or failed.
        TimeoutError: systemd did not answer, or the processes could not be read, in time.
        OverloadedError: The last reading of the processes is still running.

    """
    if watch.unit:
        try:
            found = await _ask_systemd(watch.unit)
        except (OSError, TimeoutError):
            report_unknown(watch.unit, program)
            raise
        report_unit(watch.unit, found, program)
    else:
        try:
            async with asyncio.timeout(LIMIT_S):
                await program.gauge_thread.submit(lambda: report_process(watch.process, program))
        except (TimeoutError, OverloadedError):
            program.status["state"] = "unknown"
            program.health_metric("PROCESS_ABSENT", 0)
            raise


async def _ask_systemd(unit: str) -> dict[str, str]:
    wanted = f"--property={','.join(PROPERTIES)}"
    status, output = await run("systemctl", "show", wanted, unit, limit_s=LIMIT_S)
    found = properties_in(output)
    if "ActiveState" not in found:
        # If its bus is gone, for example, systemctl exits at once and prints no properties.
        raise ConnectionError(output.strip() or f"systemctl ended with status {status}")
    return found


def properties_in(output: str) -> dict[str, str]:
    """Parse the output of ``systemctl show``."""
    pairs = (line.partition("=") for line in output.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs if name in PROPERTIES}


def report_unit(unit: str, properties: dict[str, str], program: Program) -> None:
    """Report a unit's state and resource usage, and a health metric if it failed."""
    known = properties.get("LoadState") != "not-found"
    state = properties.get("ActiveState", "unknown") if known else "not-found"
    program.status["state"] = state
    for word, name in (
        ("sub", "SubState"),
        ("result", "Result"),
        ("since", "ActiveEnterTimestamp"),
    ):
        program.status[word] = properties.get(name, "")
    program.health_metric("UNIT_UNKNOWN", 0)
    failed = state in {"failed", "not-found"}
    program.health_metric("UNIT_FAILED", int(failed), f"unit {unit} is {state}")
    _set(program, "active", state == "active")
    _set(program, "restarts", _number(properties.get("NRestarts")))
    _set(program, "memory", _number(properties.get("MemoryCurrent")), unit="bytes")
    cpu_s = _number(properties.get("CPUUsageNSec")) / 1e9
    _set(program, "cpu_seconds", cpu_s, unit="seconds")


def report_unknown(unit: str, program: Program) -> None:
    """Report a unit's state as unknown and remove what was reported of it before."""
    program.status["state"] = "unknown"
    for word in ("sub", "result", "since"):
        program.status[word] = ""
    program.health_metric("UNIT_FAILED", 0)
    program.health_metric("UNIT_UNKNOWN", 1, f"unit {unit}: systemd does not answer")
    for series in program.counters.live():
        series.remove()


def report_process(name: str, program: Program) -> None:
    """Report the number of processes named ``name``, and their total resource usage."""
    memory = cpu_s = 0.0
    count = 0
    for process in psutil.process_iter(["name", "memory_info", "cpu_times"]):
        info = process.info
        if info["name"] != name:
            continue
        count += 1
        if info["memory_info"] is not None and info["cpu_times"] is not None:
            memory += info["memory_info"].rss
            cpu_s += info["cpu_times"].user + info["cpu_times"].system
    program.status["state"] = "running" if count else "absent"
    program.health_metric("PROCESS_ABSENT", int(not count), f"no process named {name}")
    _set(program, "processes", count)
    _set(program, "memory", memory, unit="bytes")
    _set(program, "cpu_seconds", cpu_s, unit="seconds")


def _set(program: Program, name: str, value: float, *, unit: str = "") -> None:
    program.gauge(name, unit=unit, description=DESCRIPTIONS[name]).set(value)


def _number(text: str | None) -> float:
    number = int(text) if text and text.isdecimal() else 0
    return 0.0 if number == NOT_SET else float(number)
