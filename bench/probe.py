"""Measure what simulated daemons cost the one server that they report to."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import ChainMap
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, Final

from bench import cores
from mgr.clock import CLOCK
from tests.support import process

PERIOD_S: Final = 5.0
CLIENTS: Final = 4
"""Processes that the daemons are simulated in."""
POINTS: Final = 20
"""What a ring holds: so many reports of each daemon, and the memory is what it will be."""
IDLE_S: Final = 1.0
WINDOW_S: Final = 10.0
QUIET_S: Final = 0.5
QUIET_SHARE: Final = 0.05
"""Of a core above what it takes when idle: a server that needs less has done its work."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many daemons, how many counters each has, and how many share a connection."""

    daemons: int
    counters: int = 100
    streams: int = 1000


class Simulated:
    """Running processes of bench/daemons.py, each with a part of the daemons."""

    def __init__(self, running: Sequence[subprocess.Popen[str]]) -> None:
        self._running = running

    def cpu_s(self) -> float:
        """Seconds of CPU that they have used."""
        return sum(cores.cpu_s(each.pid) for each in self._running)

    def ask(self, line: str) -> dict[str, Any]:
        """Send one line to all at the same time; return their answers as one."""
        for each in self._running:
            assert each.stdin
            each.stdin.write(line + "\n")
            each.stdin.flush()
        answers = []
        for each in self._running:
            assert each.stdout
            answer = each.stdout.readline()
            assert answer, f"the simulated daemons ended at {line!r}"
            answers.append(json.loads(answer))
        return {name: _together(name, [each[name] for each in answers]) for name in answers[0]}


def _together(name: str, parts: list[Any]) -> Any:
    if isinstance(parts[0], dict):
        return dict(ChainMap(*parts)) if name == "returns" else sum(map(Tally, parts), Tally())
    if isinstance(parts[0], list):
        return [*chain.from_iterable(parts)]
    return max(parts) if name == "seconds" else sum(parts)


@contextlib.contextmanager
def simulated(addresses: Sequence[str], shape: Shape) -> Iterator[Simulated]:
    """Start daemons that know managers at ``addresses`` and have not joined yet."""
    bounds = [part * shape.daemons // CLIENTS for part in range(CLIENTS + 1)]
    flags = (
        f"--daemons={shape.daemons}",
        f"--counters={shape.counters}",
        f"--streams={shape.streams}",
        f"--period={PERIOD_S}",
    )
    with contextlib.ExitStack() as programs:
        running = [
            programs.enter_context(
                _program("bench.daemons", *flags, f"--first={first}", f"--end={end}", *addresses)
            )
            for first, end in pairwise(bounds)
        ]
        cores.pin(cores.OTHERS, [each.pid for each in running])
        yield Simulated(running)


@contextlib.contextmanager
def bare_server() -> Iterator[tuple[int, str]]:
    """Start bench/thread_baseline.py; its process id and address."""
    with _program("bench.thread_baseline") as running:
        assert running.stdout
        port = int(running.stdout.readline())
        cores.pin(cores.SERVER, [running.pid])
        yield running.pid, f"127.0.0.1:{port}"


@contextlib.contextmanager
def _program(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@dataclass(slots=True)
class Cost:
    """What a server pays for a fleet.

    Attributes:
        join_s: Until all were there; they come at up to 1 000 a second.
        join_us: CPU for one of them.
        stream_kib: Memory for one that has joined and reported nothing.
        full_kib: Memory for one whose ring is full.
        burst_us: CPU for one report when all come at once.
        report_us: CPU for one report at one a period, less what the idle server takes.
        share: Of its core, at one a period, with everything.
        client_share: Of the other core, by the simulated daemons meanwhile.
        late_ms: How late they sent.

    """

    join_s: float = 0.0
    join_us: float = 0.0
    stream_kib: float = 0.0
    full_kib: float = 0.0
    burst_us: float = 0.0
    report_us: float = 0.0
    share: float = 0.0
    client_share: float = 0.0
    late_ms: list[float] = field(default_factory=list)


class Probe:
    """Watches the server ``pid`` while daemons come, fill their rings and report."""

    def __init__(self, pid: int, fleet: Simulated, shape: Shape) -> None:
        self.cost = Cost()
        self._pid = pid
        self._fleet = fleet
        self._daemons = shape.daemons
        self._idle, _ = self._shares(IDLE_S)

    def join(self) -> None:
        """Let all come."""
        memory_mib, used_s = process.resident_mib(self._pid), cores.cpu_s(self._pid)
        self._before_mib = memory_mib
        self.cost.join_s = self._fleet.ask("join")["seconds"]
        self.cost.join_us = (self._quiet() - used_s) / self._daemons * 1e6
        self.cost.stream_kib = self._grown_kib()

    def fill(self) -> None:
        """Let all fill their rings at once."""
        used_s = cores.cpu_s(self._pid)
        self._fleet.ask(f"fill {POINTS}")
        self.cost.burst_us = (self._quiet() - used_s) / self._daemons / POINTS * 1e6
        self.cost.full_kib = self._grown_kib()

    def report(self) -> None:
        """Let each report once a period, and look at a window of that."""
        self._fleet.ask("report")
        pause(PERIOD_S)
        before = self._fleet.ask("stat")["sent"]
        self.cost.share, self.cost.client_share = self._shares(WINDOW_S)
        after = self._fleet.ask("stat")
        self.cost.report_us = (
            (self.cost.share - self._idle) * WINDOW_S / (after["sent"] - before) * 1e6
        )
        self.cost.late_ms = after["late_ms"]

    def _grown_kib(self) -> float:
        return (process.resident_mib(self._pid) - self._before_mib) * 1024 / self._daemons

    def _shares(self, seconds: float) -> tuple[float, float]:
        """The share of a core that server and daemons take for a while."""
        begun = CLOCK.now()
        server_s, daemons_s = cores.cpu_s(self._pid), self._fleet.cpu_s()
        pause(seconds)
        passed_s = CLOCK.now() - begun
        return (
            (cores.cpu_s(self._pid) - server_s) / passed_s,
            (self._fleet.cpu_s() - daemons_s) / passed_s,
        )

    def _quiet(self) -> float:
        """Wait until the server has done what it was given; its CPU by then, in seconds."""
        while True:
            share, _ = self._shares(QUIET_S)
            if share < self._idle + QUIET_SHARE:
                return cores.cpu_s(self._pid)


def pause(seconds: float) -> None:
    """Sleep while the measured processes go on."""
    threading.Event().wait(seconds)
