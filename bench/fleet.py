"""A fleet of simulated daemons reports to one active manager: what it costs, and how it grows.

The reference is the floor: the same daemons report to a bare grpc.aio server that parses their
messages and throws them away. What is measured has a core to itself; see bench/cores.py.
"""

from __future__ import annotations

import contextlib
import json
import signal
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from bench import cores
from bench.plot import Line, Panel, draw
from bench.probe import (
    CLIENTS,
    PERIOD_S,
    Cost,
    Probe,
    Shape,
    Simulated,
    bare_server,
    pause,
    simulated,
)
from bench.report import Report
from bench.setting import Setting
from mgr.clock import CLOCK, wall_s
from tests.support.cluster import Manager, wait_for

SHAPES: Final = tuple(Shape(daemons) for daemons in (100, 1_000, 10_000))
OWN_CONNECTIONS: Final = Shape(1_000, streams=1)
COUNTERS: Final = (Shape(200, counters=10), Shape(200, counters=1000))
"""The difference between these is what a counter costs."""
REJOINING: Final = Shape(1_000)
KILLS: Final = 3
READS_S: Final = 3.0
START_S: Final = 60.0
LAG: Final = "mgr_loop_lag_seconds_bucket"
Row = tuple[str, str, Callable[[Cost], float]]
COMING: Final[tuple[Row, ...]] = (
    ("CPU of a join", "us", lambda of: of.join_us),
    ("CPU of a report, all at once", "us", lambda of: of.burst_us),
    ("memory of a daemon, its ring full", "KiB", lambda of: of.full_kib),
)
STAYING: Final[tuple[Row, ...]] = (
    ("CPU of a report, one a period", "us", lambda of: of.report_us),
    ("share of a core, one a period", "%", lambda of: of.share * 100),
)
MICROSECONDS: Final = {"get_counter": "p50 <= 10", "get('service_map')": "p50 <= 10"}


@dataclass(slots=True)
class Seen:
    """What a fleet's manager and its modules saw while it reported.

    Attributes:
        lag_ms: Of the event loop, a sample a heartbeat: the upper bound of its bucket.
        reads_us: Of a module, by what it read.
        delays_ms: Of each report, in the order of sending: until it was taken in.
        missing: Reports that did not arrive though a later one of the same daemon did.

    """

    lag_ms: list[float]
    reads_us: dict[str, list[float]]
    delays_ms: list[float]
    missing: int
    absent: int


def _floor(shape: Shape) -> Cost:
    """The cost for a server that keeps nothing."""
    with bare_server() as (pid, address), simulated([address], shape) as fleet:
        probe = Probe(pid, fleet, shape)
        probe.join()
        probe.fill()
        probe.report()
    return probe.cost


def _managed(shape: Shape) -> tuple[Cost, Seen]:
    """The cost for a manager, and what its modules see meanwhile."""
    with _setting("a") as setting:
        active = setting.cluster.active()
        with simulated([active.grpc_address], shape) as fleet:
            probe = Probe(active.worker_pid, fleet, shape)
            probe.join()
            probe.fill()
            since, lag = wall_s(), _lag(active)
            probe.report()
            lag_ms = _lag_since(active, lag)
            reads = _ask(setting, "reads", daemons=shape.daemons, seconds=READS_S)
            delays = _ask(setting, "delays", daemons=shape.daemons, since=since)
            count = _ask(setting, "count", daemons=shape.daemons)
    return probe.cost, Seen(
        lag_ms=lag_ms,
        reads_us=reads,
        delays_ms=[delay for _, delay in sorted(delays)],
        missing=count["holes"],
        absent=shape.daemons - count["present"],
    )


@dataclass(slots=True)
class Return:
    """How a fleet came back after its manager was killed, over all kills.

    Attributes:
        back_ms: Of each daemon: from the kill to its first report at the new active.
        gap_s: Of each: between its last report before and its first one after.
        whole_ms: Of each kill: until the last one was back.
        missing: Of each kill: reports that came neither before nor in the gap nor at all.
        absent: Of each kill: daemons whose reports the new active does not have.

    """

    back_ms: list[float] = field(default_factory=list)
    gap_s: list[float] = field(default_factory=list)
    whole_ms: list[float] = field(default_factory=list)
    missing: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)


def _rejoined(shape: Shape) -> Return:
    found = Return()
    with _setting("a", "b", "c") as setting, simulated(setting.cluster.hosts, shape) as fleet:
        for order in ("join", "fill 1", "report"):
            fleet.ask(order)
        for _ in range(KILLS):
            active = setting.cluster.settled(START_S)
            _pin(setting)
            pause(PERIOD_S)
            fleet.ask("stat")
            killed_at = CLOCK.now()
            active.signal(signal.SIGKILL, worker=True)
            returns = _returned(fleet, shape.daemons)
            back_ms = [(at - killed_at) * 1e3 for at, _ in returns]
            found.back_ms += back_ms
            found.whole_ms.append(max(back_ms))
            found.gap_s += [gap for _, gap in returns]
            # One more report of each, so that a hole before it could be seen.
            pause(1.2 * PERIOD_S)
            count = _ask(setting, "count", daemons=shape.daemons)
            found.missing.append(count["holes"])
            found.absent.append(shape.daemons - count["present"])
    return found


def _returned(fleet: Simulated, daemons: int) -> list[tuple[float, float]]:
    returns: dict[str, tuple[float, float]] = {}

    def all_back() -> bool:
        returns.update(fleet.ask("stat")["returns"])
        return len(returns) == daemons

    wait_for(all_back, f"{daemons} daemons to return", START_S)
    return list(returns.values())


# -- the report -----------------------------------------------------------------------------------


def run() -> Report:
    """Measure every size, manager and floor in turn, and a fleet that loses its manager."""
    report = Report("A fleet that reports", "python -m bench fleet")
    floors, costs = [], []
    for shape in SHAPES:
        floors.append(floor := _floor(shape))
        cost, seen = _managed(shape)
        costs.append(cost)
        fleet = f"{shape.daemons} daemons"
        _add(report, fleet, cost, floor, COMING + STAYING)
        _add_seen(report, fleet, seen)
        _add_client(report, fleet, cost)
    _add_own_connections(report)
    _add_counter(report)
    _add_return(report, f"{REJOINING.daemons} daemons, kill -9 of the active", _rejoined(REJOINING))
    report.notes.append(f"{cores.SPLIT}; the daemons are simulated in {CLIENTS} processes")
    report.notes.append(
        f"each daemon reports {SHAPES[0].counters} counters every {PERIOD_S:g} s at a moment of "
        "its own; CPU is the whole process's, what the idle one takes subtracted"
    )
    report.notes.append(_picture(costs, floors))
    return report


def _add(report: Report, fleet: str, cost: Cost, floor: Cost, rows: Sequence[Row]) -> None:
    for what, unit, measured in rows:
        report.add(f"{fleet}: {what}", [measured(cost)], unit=unit)
        report.add(f"reference: floor, {fleet}: {what}", [measured(floor)], unit=unit)


def _add_client(report: Report, fleet: str, cost: Cost) -> None:
    late_ms = sorted(cost.late_ms)[len(cost.late_ms) * 99 // 100]
    report.notes.append(
        f"{fleet}: joined in {cost.join_s:.1f} s; simulating them took {cost.client_share:.0%} of "
        f"the other core, 99 % of their reports left within {late_ms:.1f} ms of their time"
    )


def _add_seen(report: Report, fleet: str, seen: Seen) -> None:
    # A queue that grows would show as a longer way in the second half.
    half = len(seen.delays_ms) // 2
    report.add(f"{fleet}: sent -> taken in, first half", seen.delays_ms[:half])
    report.add(f"{fleet}: sent -> taken in, second half", seen.delays_ms[half:])
    report.add(f"{fleet}: event loop's lag, at most", seen.lag_ms, target="p99 <= 50")
    for what, took_us in seen.reads_us.items():
        reference, _, name = what.rpartition("reference: ")
        begin = "reference: " if name != what else ""
        report.add(
            f"{begin}{fleet}: {name}{reference}",
            took_us,
            unit="us",
            target=MICROSECONDS.get(what, ""),
        )
    report.add(f"{fleet}: reports missing", [seen.missing], unit="count", target="0")
    report.add(f"{fleet}: daemons missing", [seen.absent], unit="count", target="0")


def _add_own_connections(report: Report) -> None:
    shape = OWN_CONNECTIONS
    with bare_server() as (pid, address):
        floor = _come(pid, address, shape)
    with _setting("a") as setting:
        active = setting.cluster.active()
        cost = _come(active.worker_pid, active.grpc_address, shape)
    _add(report, f"{shape.daemons} daemons, a connection each", cost, floor, COMING)


def _add_counter(report: Report) -> None:
    """What one more counter in a report costs: the difference between few and many."""
    floors, costs = [], []
    for shape in COUNTERS:
        with bare_server() as (pid, address):
            floors.append(_come(pid, address, shape).burst_us)
        # A manager for each: one would bear the second burst of a name in mind, and refuse it.
        with _setting("a") as setting:
            active = setting.cluster.active()
            costs.append(_come(active.worker_pid, active.grpc_address, shape).burst_us)
    more = COUNTERS[1].counters - COUNTERS[0].counters
    for what, (few, many) in (("reference: floor, ", floors), ("", costs)):
        report.add(f"{what}CPU of a counter in a report", [(many - few) / more], unit="us")


def _come(pid: int, address: str, shape: Shape) -> Cost:
    """What it costs a server that daemons join and fill their rings."""
    with simulated([address], shape) as fleet:
        probe = Probe(pid, fleet, shape)
        probe.join()
        probe.fill()
    return probe.cost


def _add_return(report: Report, fleet: str, found: Return) -> None:
    report.add(f"{fleet} -> a daemon reports again", found.back_ms)
    report.add(f"{fleet} -> all do", found.whole_ms)
    report.add(f"{fleet}: between two reports of a daemon", found.gap_s, unit="s")
    report.add(f"{fleet}: reports missing", found.missing, unit="count", target="0")
    report.add(f"{fleet}: daemons missing", found.absent, unit="count", target="0")


def _picture(costs: list[Cost], floors: list[Cost]) -> str:
    def panel(
        title: str, y: str, measured: Callable[[Cost], float], *, log_y: bool = False
    ) -> Panel:
        lines = [
            Line(
                what,
                [(shape.daemons, measured(of)) for shape, of in zip(SHAPES, them, strict=True)],
                style,
            )
            for what, them, style in (("manager", costs, "o-"), ("bare server", floors, "o--"))
        ]
        return Panel(title, "daemons", y, lines, log_x=True, log_y=log_y)

    return draw(
        "fleet",
        [
            panel("One report", "CPU, us", lambda of: of.report_us),
            panel("All reports", "share of a core, %", lambda of: of.share * 100, log_y=True),
            panel("One daemon, its ring full", "memory, KiB", lambda of: of.full_kib),
        ],
    )


# -- the cluster ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _setting(*names: str) -> Iterator[Setting]:
    with Setting(names=names) as setting:
        setting.cluster.settled(START_S)
        setting.cluster.enable("fleet_counter")
        _pin(setting)
        yield setting


def _pin(setting: Setting) -> None:
    managers = setting.cluster.managers.values()
    cores.pin(cores.SERVER, [manager.worker_pid for manager in managers])
    cores.pin(cores.OTHERS, [setting.etcd.pid, *(manager.guard_pid for manager in managers)])


def _ask(setting: Setting, what: str, **arguments: Any) -> Any:
    answer = setting.cluster.run("fleet_counter", what, timeout_s=60, **arguments)
    assert answer.retval == 0, answer
    return json.loads(answer.stdout)


def _lag(manager: Manager) -> dict[float, float]:
    """How often the loop's lag was at most so many seconds."""
    with urllib.request.urlopen(f"http://{manager.http_address}/metrics") as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    samples = (sample for family in families for sample in family.samples)
    return {float(each.labels["le"]): each.value for each in samples if each.name == LAG}


def _lag_since(manager: Manager, before: dict[float, float]) -> list[float]:
    """One sample in milliseconds a heartbeat since then: the upper bound of its bucket."""
    samples: list[float] = []
    for bound, count in sorted(_lag(manager).items()):
        samples += [bound * 1e3] * (int(count - before[bound]) - len(samples))
    return samples
