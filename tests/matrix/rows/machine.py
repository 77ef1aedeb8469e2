"""Rows 29, 30 and 35 to 46: clocks, processors, descriptors, connections, and what modules do."""

from __future__ import annotations

import itertools
import resource
import signal
import socket
from functools import partial
from pathlib import Path
from random import Random

import grpc

from mgr.clock import CLOCK
from mgr.errors import MgrError
from tests.matrix.row import CHANGES, HELD, Figures, Place, Row, stands
from tests.support import process
from tests.support.cluster import Manager
from tests.support.faults.breaking import heal
from tests.support.faults.cgroup import Group, unavailable
from tests.support.faults.lab import Lab

PERIOD_US = 100_000
STARVED_S = 10.0
IDLE_CONNECTIONS = 1000
LARGE = 40 << 20
GROWTH_MIB_MAX = 32


def starve(lab: Lab, rng: Random) -> Figures:
    """A standby gets a twentieth of a processor: slow itself, it must not find others silent."""
    lab.settled()
    standby = lab.standby()
    pids = (standby.guard_pid, standby.worker_pid)
    count, begun_s = len(lab.recorder.terms), CLOCK.now()
    with Group("cpu", *pids, cpu_cfs_period_us=PERIOD_US, cpu_cfs_quota_us=PERIOD_US // 20):
        lab.pause(STARVED_S)
    heal(lab)
    lab.settled()
    changes = len(lab.recorder.terms) - count
    assert not changes, "a starved standby deposed the active"
    return {CHANGES: changes, HELD: lab.record.longest_wait_s(begun_s) * 1e3}


def no_descriptors(lab: Lab, rng: Random) -> Figures:
    """The worker may open nothing more; its guard is not concerned."""
    active = lab.settled()
    worker, count, begun_s = active.worker_pid, len(lab.recorder.terms), CLOCK.now()
    used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used, before[1]))
    lab.pause(3)
    if not process.gone(worker):
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    lab.settled()
    return {
        CHANGES: len(lab.recorder.terms) - count,
        HELD: lab.record.longest_wait_s(begun_s) * 1e3,
    }


def idle_connections(lab: Lab, rng: Random) -> Figures:
    """Half of them say a little and stop, half say nothing."""
    active = lab.settled()
    count, begun_s = len(lab.recorder.terms), CLOCK.now()
    opened = []
    try:
        for number in range(IDLE_CONNECTIONS):
            address = active.grpc_address if number % 4 else active.http_address
            host, _, port = address.rpartition(":")
            opened.append(socket.create_connection((host, int(port)), timeout=5))
            if number % 2:
                opened[-1].sendall(b"GET / HTTP/1.1\r\nHost: ")
        lab.pause(3)
    finally:
        for each in opened:
            each.close()
    beats = [each for each in lab.recorder.heartbeats if each > begun_s]
    gaps = [after - before for before, after in itertools.pairwise(beats)]
    changes = len(lab.recorder.terms) - count
    assert not changes
    return {CHANGES: changes, "heartbeat gap": max(gaps) * 1e3}


def large_input(lab: Lab, rng: Random) -> Figures:
    """Above the limit, and deeply nested: refused, and the memory does not stay taken."""
    active = lab.settled()
    before = process.resident_mib(active.worker_pid)
    with lab.cluster.client() as client:
        for data in (b"x" * LARGE, b"[" * (1 << 20)):
            try:
                client.execute(["config", "assimilate-conf"], data=data, timeout_s=20)
            except (MgrError, grpc.RpcError):
                continue
    after = process.resident_mib(active.worker_pid)
    assert after - before < GROWTH_MIB_MAX, f"it grew by {after - before:.0f} MiB"
    return {CHANGES: 0}


def other_boot_clock(lab: Lab, active: Manager) -> None:
    """Nothing: the whole laboratory of this row runs with managers in time namespaces."""


def kill_in_turn(lab: Lab, rng: Random) -> Figures:
    """Whoever leads dies, five times: no ping-pong, and the pauses grow."""
    count = len(lab.recorder.terms)
    for _ in range(5):
        lab.settled().signal(signal.SIGKILL, worker=True)
        lab.pause(0.5)
    lab.settled()
    return {CHANGES: len(lab.recorder.terms) - count}


ROWS = (
    Row(
        number=29,
        fault="the wall clock jumps",
        holds="nothing: no role looks at it",
        elsewhere="tests/style/test_imports.py",
        not_here="setting it would set it for everybody on this machine; that only `mgr/clock.py` "
        "reads a clock, and that nothing decides by wall time, is a rule of the linter",
    ),
    Row(
        number=30,
        fault="the managers' boot clocks differ by days",
        holds="no span is compared with a time made elsewhere",
        run=stands(other_boot_clock, lasts_s=5),
        place=Place.CLOCKS,
        runs=1,
        targets={CHANGES: 0},
        not_here="a real suspend; that a pause counts is row 9",
    ),
    Row(
        number=35,
        fault="a standby gets 5 % of a processor for 10 s",
        holds="slow itself, it finds nobody else silent",
        run=starve,
        runs=3,
        targets={CHANGES: 0},
        needs=partial(unavailable, "cpu"),
    ),
    Row(
        number=36,
        fault="the active's worker has no file descriptor left for 3 s",
        holds="its guard is not concerned; commands on open connections go on",
        run=no_descriptors,
        runs=3,
    ),
    Row(
        number=37,
        fault="the local disk is full or read-only",
        holds="the term goes on; with a required audit file, leadership goes to a manager that "
        "can write its own",
        elsewhere="tests/integration/worker/test_audit_sinks.py",
    ),
    Row(
        number=38,
        fault="names of etcd do not resolve any more",
        holds="open connections are kept",
        elsewhere="tests/e2e/compose/test_compose.py",
        not_here="the resolver's files are this machine's own",
    ),
    Row(
        number=39,
        fault="certificates expire or rotate",
        holds="no restart, no failed connection",
        elsewhere="tests/e2e/test_secure_cluster.py",
    ),
    Row(
        number=40,
        fault="etcd's token ends, a user's role is revoked",
        holds="logs in again; a refusal is named",
        elsewhere="tests/integration/store/test_who_asks.py",
    ),
    Row(
        number=41,
        fault="a module raises, hangs or computes while it starts, serves or stops",
        holds="others are unaffected, health names it",
        elsewhere="tests/e2e/test_module_faults.py",
    ),
    Row(
        number=42,
        fault="the active's worker is killed five times in a row",
        holds="one change each; a manager that crashes often pauses, longer and longer",
        run=kill_in_turn,
        runs=3,
        targets={CHANGES: 5},
        not_here="a poisoned option is not put into quarantine: `config reset` takes it back",
    ),
    Row(
        number=43,
        fault="1000 connections to the active that say nothing, or half a request",
        holds="the heartbeat is not affected",
        run=idle_connections,
        runs=3,
        targets={CHANGES: 0, "heartbeat gap": 300},
    ),
    Row(
        number=44,
        fault="40 MB in one message, a million brackets",
        holds="refused; the worker's memory grows by less than 32 MiB",
        run=large_input,
        runs=3,
    ),
    Row(
        number=45,
        fault="a client with a stale hint, standbys that name each other",
        holds="at most three hops, then it searches again",
        elsewhere="tests/integration/rpc/test_finding.py",
    ),
    Row(
        number=46,
        fault="random faults, seeded, for half an hour and more",
        holds="every invariant",
        elsewhere="tests/matrix/soak.py",
    ),
    Row(
        number=65,
        fault="a pause that no clock of the machine counts: a virtual machine's own",
        holds="what compares terms refuses what comes late; no clock can",
        elsewhere="tests/sim/test_hidden_pause.py",
        not_here="the boot clock of this machine cannot be stopped for some processes and not for "
        "others; on virtual time it can",
    ),
)
