"""How long there is no active and no answer, for each way of losing the active manager.

A client repeats a mutating command, one after another, through every fault. Each intention
has a token; afterwards the store tells how often each was applied.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from bench.report import Report
from bench.setting import Setting
from mgr.client.blocking import Client
from mgr.clock import CLOCK
from mgr.errors import MgrError
from mgr.store.api import Changed, Created, Delete, LeaseId, Listed, Put
from mgr.store.etcd import EtcdStore
from mgr.store.keys import Keys
from tests.support import process
from tests.support.cluster import Cluster, Manager, wait_for

RUNS = 20
RUNS_PER_CLUSTER = 5
"""Then a fresh one: a manager whose workers keep crashing pauses longer and longer before the
next, and it is not these pauses that are measured."""
TTL_RUNS = 5


@dataclass
class Observer:
    """Follows the leader key and records when the leader changed (boot clock)."""

    endpoints: tuple[str, ...]
    key: str
    deleted: list[float] = field(default_factory=list)
    created: list[float] = field(default_factory=list)
    at_once: int = 0
    """How often both came in one message: less than a millisecond apart, counted as 0."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._stop = asyncio.Event()
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    async def _run(self) -> None:
        store = EtcdStore(self.endpoints)
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(self._follow(store))
            await self._stop.wait()
            follower.cancel()
        await store.close()

    async def _follow(self, store: EtcdStore) -> None:
        async for event in store.follow(self.key):
            now = CLOCK.now()
            if isinstance(event, Listed):
                self._ready.set()
            elif isinstance(event, Changed):
                if event.deleted:
                    self.deleted.append(now)
                if any(record.create_revision == record.mod_revision for record in event.put):
                    if len(self.deleted) == len(self.created):
                        self.deleted.append(now)
                        self.at_once += 1
                    self.created.append(now)


@dataclass
class Load:
    """A client that sends commands without a pause; records each answer and its time."""

    cluster: Cluster
    answered: list[tuple[float, float, int]] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        with self.cluster.client() as client:
            while not self._stop.wait(0.002):
                number += 1
                token = f"t{number}"
                begun = CLOCK.now()
                try:
                    answer = client.execute(["probe", "apply", token], timeout_s=20)
                except MgrError as error:
                    kind = self.unknown.add if error.reason in UNCLEAR else self.failed.append
                    kind(token)
                    continue
                self.answered.append((begun, CLOCK.now(), answer.term))
                if answer.retval == 0:
                    self.acknowledged.add(token)
                else:
                    self.failed.append(f"{token}: {answer.stderr}")

    def first_after(self, moment: float, term: int) -> float | None:
        """When the first answer of a later term came; None if there is none yet."""
        return next(
            (end for _, end, its in self.answered[-2000:] if end > moment and its > term), None
        )


UNCLEAR = {"TERM_LOST", "FENCED", "MAY_HAVE_RUN", "DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN"}

Fault = Callable[[Cluster, Manager], None]

HOST_GONE = "host gone (guard and worker frozen), fast profile"


def _to_all(manager: Manager, number: signal.Signals) -> None:
    for pid in (manager.guard_pid, *process.below(manager.guard_pid)):
        os.kill(pid, number)


def _mend(cluster: Cluster, what: str, active: Manager) -> None:
    """Wait until three managers can lead again."""
    if what == "SIGTERM of the manager":
        active.wait()
        active.start()
    elif what == HOST_GONE:
        _to_all(active, signal.SIGCONT)
        asyncio.run(_forget_deposition(cluster))


async def _forget_deposition(cluster: Cluster) -> None:
    # There is one deposition in ten seconds; the runs are not to wait for each other.
    store = EtcdStore(cluster.etcd)
    await store.commit([Delete(Keys(cluster.name).deposed)])
    await store.close()


FAULTS: dict[str, tuple[Fault, dict[str, object], str]] = {
    "kill -9 of the worker": (
        lambda _, active: active.signal(signal.SIGKILL, worker=True),
        {},
        "p50 <= 50, p99 <= 250",
    ),
    "SIGTERM of the manager": (lambda _, active: active.signal(signal.SIGTERM), {}, ""),
    "mgr fail": (lambda cluster, _: cluster.run("mgr", "fail"), {}, ""),
    "SIGSTOP of the worker, watchdog 0.3 s": (
        lambda _, active: active.signal(signal.SIGSTOP, worker=True),
        {"watchdog_s": 0.3},
        "",
    ),
    "SIGSTOP of the worker, watchdog 2 s (default)": (
        lambda _, active: active.signal(signal.SIGSTOP, worker=True),
        {},
        "",
    ),
    HOST_GONE: (
        lambda _, active: _to_all(active, signal.SIGSTOP),
        {"profile": "fast"},
        "",
    ),
}
KEY_TARGETS = {
    HOST_GONE: "p99 <= 700",
    "kill -9 of the worker": "p50 <= 15",
    "SIGSTOP of the worker, watchdog 0.3 s": "p99 <= 350",
}
PLANNED = {"SIGTERM of the manager", "mgr fail"}


@dataclass
class Found:
    """The results of the runs of one fault. Times in milliseconds from the fault."""

    answered: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    key: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    acknowledged: int = 0
    twice: int = 0
    lost: int = 0
    failed: int = 0
    unknown: int = 0
    unknown_applied: int = 0

    def run(self, cluster: Cluster, what: str, seen: Observer, load: Load, idle: Client) -> None:
        """Cause the fault once; ``idle`` is a client that sent nothing for a while."""
        active = cluster.settled(60)
        wait_for(lambda: load.answered, "the load to begin")
        term = load.answered[-1][2]
        changes = len(seen.created)
        begun = CLOCK.now()
        FAULTS[what][0](cluster, active)
        idle.execute(["probe", "nop"], timeout_s=30)
        self.idle.append((CLOCK.now() - begun) * 1e3)
        first = wait_for(lambda: load.first_after(begun, term), "an answer", 30)
        wait_for(lambda: len(seen.created) > changes, "the new leader key")
        self.answered.append((first - begun) * 1e3)
        self.key.append((seen.created[changes] - begun) * 1e3)
        self.gaps.append((seen.created[changes] - seen.deleted[changes]) * 1e3)
        _mend(cluster, what, active)

    def count(self, load: Load, counts: dict[str, int]) -> None:
        """Compare what was acknowledged with what was applied."""
        self.acknowledged += len(load.acknowledged)
        self.twice += sum(count > 1 for count in counts.values())
        self.lost += sum(token not in counts for token in load.acknowledged)
        self.failed += len(load.failed)
        self.unknown += len(load.unknown)
        self.unknown_applied += sum(token in counts for token in load.unknown)

    def note(self) -> str:
        """The counts in one line."""
        return (
            f"{self.acknowledged} commands acknowledged, {self.twice} applied twice, "
            f"{self.lost} lost, {self.failed} failed, {self.unknown} answered 'unknown' "
            f"({self.unknown_applied} of these had been applied)"
        )


def _measure(report: Report, what: str) -> None:
    _, settings, target = FAULTS[what]
    found = Found()
    for _ in range(RUNS // RUNS_PER_CLUSTER):
        with Setting(**settings) as setting:
            cluster = setting.cluster
            cluster.settled()
            cluster.enable("probe")
            cluster.run("probe", "nop")
            leader = Keys(cluster.name).leader
            with (
                Observer(cluster.etcd, leader) as seen,
                Load(cluster) as load,
                cluster.client() as idle,
            ):
                idle.execute(["probe", "nop"])
                for _ in range(RUNS_PER_CLUSTER):
                    found.run(cluster, what, seen, load, idle)
            found.count(load, json.loads(cluster.run("probe", "counts", timeout_s=30).stdout))
    report.add(f"{what} -> first command answered", found.answered, target=target)
    report.add(f"{what} -> standby holds the key", found.key, target=KEY_TARGETS.get(what, ""))
    if what in PLANNED:
        report.add(f"{what}: nobody holds the key", found.gaps, target="p99 <= 20")
    else:
        report.add(f"{what} -> first command of a client that was idle", found.idle)
    report.notes.append(f"{what}: {found.note()}")


async def lease_alone(endpoints: tuple[str, ...], ttl_s: int) -> list[float]:
    """The reference, an etcd lease alone: its holder vanishes, a waiter acquires the key."""
    found = []
    store = EtcdStore(endpoints)
    for number in range(TTL_RUNS):
        key = f"/bench/lock/{number}"
        holder = (await store.grant(ttl_s)).lease
        waiter = (await store.grant(60)).lease
        await store.create(key, "holder", lease=holder)
        begun = CLOCK.now()
        async for event in store.follow(key):
            if isinstance(event, Changed) and event.deleted:
                break
        await _take(store, key, waiter)
        found.append((CLOCK.now() - begun) * 1e3)
    await store.close()
    return found


async def _take(store: EtcdStore, key: str, lease: LeaseId) -> None:
    outcome = await store.commit([Put(key, "waiter", lease)], when=[Created(key, 0)])
    assert outcome.succeeded


def run() -> Report:
    """Measure every fault, then the lease alone."""
    report = Report("Failover", "python -m bench failover")
    for what in FAULTS:
        _measure(report, what)
    with Setting(names=()) as setting:
        alone = asyncio.run(lease_alone(setting.cluster.etcd, 5))
    report.add("reference: an etcd lease of 5 s alone -> the next holds the key", alone)
    return report
