"""Reads the counters of the simulated daemons of bench/daemons.py, and what reading them costs."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from mgr_module import CLIReadCommand, HandleCommandResult, MgrModule

KIND = "sim"
BURST = 20
PAUSE_S = 0.01


class Module(MgrModule):
    """``fleet_counter`` commands; see bench/fleet.py."""

    @CLIReadCommand("fleet_counter count")
    def count(self, daemons: int) -> HandleCommandResult:
        """How many reports arrived, from how many daemons, and how many are missing in between."""
        arrived = present = holes = 0
        for number in range(daemons):
            numbers = [int(value) for _, value in self._points(number, "reports")]
            if numbers:
                present += 1
                arrived += numbers[-1]
                holes += numbers[-1] - numbers[0] + 1 - len(numbers)
        return _result({"present": present, "arrived": arrived, "holes": holes})

    @CLIReadCommand("fleet_counter delays")
    def delays(self, daemons: int, since: float) -> HandleCommandResult:
        """Of each report sent after ``since``: when, and milliseconds until it was taken in."""
        return _result(
            [
                (sent_at, (taken_at - sent_at) * 1e3)
                for number in range(daemons)
                for taken_at, sent_at in self._points(number, "sent_at")
                if sent_at >= since
            ]
        )

    @CLIReadCommand("fleet_counter reads")
    def reads(self, daemons: int, seconds: float) -> HandleCommandResult:
        """Microseconds of single reads, in small bursts for ``seconds``."""
        plain = {"place": "Rome"}
        number = 0
        calls: dict[str, Callable[[str], Any]] = {
            "reference: plain dict.get in a function": lambda _: plain.get("place"),
            "get_counter": lambda name: self.get_counter(KIND, name, "sim.reports"),
            "get_latest": lambda name: self.get_latest(KIND, name, "sim.reports"),
            "get('service_map')": lambda _: self.get("service_map"),
        }
        found: dict[str, list[float]] = {what: [] for what in calls}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for what, call in calls.items():
                for _ in range(BURST):
                    number += 7
                    name = str(number % daemons)
                    begun = time.perf_counter()
                    call(name)
                    found[what].append((time.perf_counter() - begun) * 1e6)
            threading.Event().wait(PAUSE_S)
        return _result(found)

    def _points(self, number: int, counter: str) -> list[list[float]]:
        path = f"{KIND}.{counter}"
        return self.get_counter(KIND, str(number), path)[path]


def _result(what: Any) -> HandleCommandResult:
    return HandleCommandResult(stdout=json.dumps(what))
