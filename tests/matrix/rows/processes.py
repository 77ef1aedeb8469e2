"""Rows 1 to 14: the processes of a manager die, freeze, compute, and are asked to stop.

How each fault is caused is in ``tests/support/faults/breaking.py``.
"""

from __future__ import annotations

import contextlib
import signal
from functools import partial
from random import Random

from mgr.errors import MgrError
from mgr.failpoint import Point
from tests.matrix.row import COMMAND, KEY, NOBODY, Figures, Place, Row, failover, measured
from tests.support import process
from tests.support.cluster import Manager, wait_for
from tests.support.faults.breaking import heal
from tests.support.faults.cgroup import Group, unavailable
from tests.support.faults.lab import Lab

TRANSFERS = 5
SLEEP_S = 3.0
MEMORY_OVER = 64 << 20


def kill(lab: Lab, active: Manager) -> None:
    active.signal(signal.SIGKILL, worker=True)


def crash(lab: Lab, rng: Random) -> Figures:
    lab.settled()
    return measured(lab, lambda: lab.break_module(rng.choice(["segfault", "abort", "exit"])))


def out_of_memory(lab: Lab, rng: Random) -> Figures:
    """The worker alone is in the group: its guard survives, as with systemd's OOMPolicy."""
    del rng
    worker = lab.settled().worker_pid
    used = int(process.resident_mib(worker)) << 20
    with Group("memory", worker, memory_limit_in_bytes=used + MEMORY_OVER):
        figures = measured(lab, lambda: lab.break_module("eat"))
        wait_for(lambda: process.gone(worker), "the kernel to kill it")
    return figures


def freeze(lab: Lab, active: Manager) -> None:
    active.signal(signal.SIGSTOP, worker=True)


def hog(lab: Lab, active: Manager) -> None:
    lab.break_module("hog")


def block(lab: Lab, active: Manager) -> None:
    lab.break_module("block")


def kill_guard(lab: Lab, rng: Random) -> Figures:
    del rng
    active = lab.settled()
    worker = active.worker_pid
    figures = measured(lab, lambda: active.signal(signal.SIGKILL))
    assert process.gone(worker), "the worker outlived its guard"
    return figures


def freeze_guard(lab: Lab, active: Manager) -> None:
    active.signal(signal.SIGSTOP)


def freeze_host(lab: Lab, rng: Random) -> Figures:
    """It sleeps on for a while after its successor leads, and wakes."""
    del rng
    active = lab.settled()
    figures = measured(lab, lambda: lab.freeze_host(active))
    lab.resume_hosts()
    return figures


def freeze_before_write(lab: Lab, rng: Random) -> Figures:
    """The worker stops between a write's last check and its sending; then its guard stops."""
    return _freeze_at(lab, Point.WRITE)


def freeze_before_effect(lab: Lab, rng: Random) -> Figures:
    """The worker stops between the open gate and the module's action outside."""
    refused = sum(not effect.accepted for effect in lab.sink.effects)
    figures = _freeze_at(lab, Point.COMMAND)
    lab.settled()
    figures["refused"] = sum(not effect.accepted for effect in lab.sink.effects) - refused
    return figures


def _freeze_at(lab: Lab, point: Point) -> Figures:
    active = lab.settled()
    file = lab.arm(active.name, point)

    def inject() -> None:
        wait_for(lambda: not file.exists(), f"{point} to be reached", 5)
        active.signal(signal.SIGSTOP)

    figures = measured(lab, inject)
    heal(lab)
    lab.settled()
    landed = [each for each in lab.recorder.violations if "landed" in each]
    return {**figures, "late writes": len(landed)}


def terminate(lab: Lab, rng: Random) -> Figures:
    del rng
    active = lab.settled()
    failed, unknown = len(lab.record.failed), len(lab.record.unknown)
    figures = measured(lab, lambda: active.signal(signal.SIGTERM))
    assert active.wait() == 0, "the manager did not end in good order"
    lost = len(lab.record.failed) + len(lab.record.unknown) - failed - unknown
    assert lost == 0, (lab.record.failed + lab.record.unknown)[-lost:]
    return {**figures, "failed": lost}


def transfer(lab: Lab, rng: Random) -> Figures:
    active, successor = lab.settled(), lab.standby()

    def ask() -> None:
        with lab.cluster.client() as client, contextlib.suppress(MgrError):
            client.fail(active.name, successor.name)

    failed = len(lab.record.failed) + len(lab.record.unknown)
    figures = measured(lab, ask)
    assert lab.recorder.terms[-1].name == successor.name, "another one took over"
    figures["failed"] = len(lab.record.failed) + len(lab.record.unknown) - failed
    assert not figures["failed"], (lab.record.failed + lab.record.unknown)[-1]
    return figures


def restart_all(lab: Lab, rng: Random) -> Figures:
    """Each manager is stopped and started, the active among them, one after the other."""
    del rng
    lab.settled()
    failed, count = len(lab.record.failed) + len(lab.record.unknown), len(lab.recorder.terms)
    for manager in lab.cluster.managers.values():
        manager.signal(signal.SIGTERM)
        manager.wait()
        manager.start()
        lab.settled()
    lost = len(lab.record.failed) + len(lab.record.unknown) - failed
    assert lost == 0, (lab.record.failed + lab.record.unknown)[-lost:]
    return {"changes": len(lab.recorder.terms) - count, "failed": lost}


CRASH = {KEY: 50, COMMAND: 250}
GONE = {KEY: 700}

ROWS = (
    Row(
        number=1,
        fault="kill -9 of the worker",
        holds="its guard reaps it and releases leadership",
        run=failover(kill),
        fast=True,
        targets=CRASH,
    ),
    Row(
        number=2,
        fault="the worker segfaults, aborts, or exits by itself",
        holds="the same",
        run=crash,
        fast=True,
        targets=CRASH,
    ),
    Row(
        number=3,
        fault="the kernel kills the worker for its memory",
        holds="the guard survives, in a group of its own",
        run=out_of_memory,
        runs=10,
        targets={},
        needs=partial(unavailable, "memory"),
    ),
    Row(
        number=4,
        fault="SIGSTOP of the worker",
        holds="killed by its guard, never resumed",
        run=failover(freeze),
        fast=True,
        targets={KEY: 350},
    ),
    Row(
        number=5,
        fault="a module holds the interpreter lock for seconds",
        holds="its stack is dumped, the worker is killed after `watchdog_s`",
        run=failover(hog),
        targets={KEY: 400},
    ),
    Row(
        number=6,
        fault="the event loop is blocked, every thread is well",
        holds="the heartbeat comes from the loop itself",
        run=failover(block),
        targets={KEY: 400},
    ),
    Row(
        number=7,
        fault="kill -9 of the guard",
        holds="the worker dies with it, a standby deposes",
        run=kill_guard,
        fast=True,
        targets=GONE,
    ),
    Row(
        number=8,
        fault="SIGSTOP of the guard, later CONT",
        holds="the worker's gate shuts, the woken guard shuts it down, no late write",
        run=failover(freeze_guard),
        targets=GONE,
    ),
    Row(
        number=9,
        fault="SIGSTOP of guard and worker, later CONT: host gone, machine paused",
        holds="deposed; every write that wakes is refused",
        run=freeze_host,
        fast=True,
        targets=GONE,
    ),
    Row(
        number=10,
        fault="the worker freezes between a write's check and its sending",
        holds="the write is refused when it wakes; a thousand more in "
        "`tests/matrix/test_late_writes.py`",
        run=freeze_before_write,
        place=Place.STORE,
        fast=True,
        targets={KEY: 700, "late writes": 0},
    ),
    Row(
        number=11,
        fault="the worker freezes between the open gate and an effect outside etcd",
        holds="it acts late, with its token; what compares tokens refuses it",
        run=freeze_before_effect,
        targets={KEY: 700, "late writes": 0},
    ),
    Row(
        number=12,
        fault="SIGTERM under 200 commands a second",
        holds="no command fails",
        run=terminate,
        place=Place.BUSY,
        fast=True,
        targets={NOBODY: 20, COMMAND: 150, "failed": 0},
    ),
    Row(
        number=13,
        fault="leadership is handed over to a named standby, under load",
        holds="always to that one, no command fails",
        run=transfer,
        place=Place.BUSY,
        fast=True,
        targets={NOBODY: 20, "failed": 0},
    ),
    Row(
        number=14,
        fault="every manager restarted, one after the other, under load",
        holds="no command fails; never to an older release (`tests/sim/test_upgrade.py`)",
        run=restart_all,
        place=Place.BUSY,
        runs=3,
        targets={"failed": 0},
    ),
)
