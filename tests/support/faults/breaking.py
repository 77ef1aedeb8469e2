"""Every fault that can be caused in a running laboratory.

A fault is a function of the laboratory and of rng; it begins when it is called. ``heal`` ends all
faults, whatever they are, so that nobody has to remember which were caused.
"""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Callable
from random import Random
from typing import Final

from mgr.errors import MgrError, StoreError
from mgr.failpoint import Point
from mgr.store.api import Delete, Put
from tests.support import process
from tests.support.cluster import Manager, wait_for
from tests.support.faults.lab import NAMES, Lab, send_signal
from tests.support.faults.peers import GUARD, WORKER
from tests.support.faults.proxy import Mode

Fault = Callable[[Lab, Random], None]

DELAY_S_MAX: Final = 0.2
LATE_S_MAX: Final = 4.0
HELPERS: Final = ("plain", "setsid", "double")
ABANDONED_S: Final = 4.0
"""After which a module that does not stop is not waited for any more."""
HEAD_START_S: Final = 0.05
STOPPED_WITHIN_S: Final = 3.0


def heal(lab: Lab) -> None:
    """End all faults and start what was stopped. Returns before the cluster has recovered.

    First whatever a dead manager left behind is noted, and ended: it would be in the way.
    """
    lab.bury()
    lab.heal_network()
    lab.resume_hosts()
    managers = lab.cluster.managers.values()
    for manager in managers:
        lab.disarm(manager.name)
        for below in process.descendants(manager.guard_pid):
            send_signal(below, signal.SIGCONT)
            if _has_no_descriptors(below):
                send_signal(below, signal.SIGKILL)
    # A guard that wakes first kills its silent worker before that can do any harm.
    lab.pause(HEAD_START_S)
    for manager in managers:
        send_signal(manager.guard_pid, signal.SIGCONT)
        if not manager.running:
            manager.start()
    for member in lab.etcd.members:
        if member.running:
            member.thaw()
        else:
            member.start()


def release_module(lab: Lab, within_s: float) -> None:
    """Release the module ``ledger``, in case it is quarantined: after three crashes it is.

    Asked until somebody answers, at most ``within_s``: a client gives up early while every worker
    starts.
    """

    def released() -> bool:
        try:
            lab.cluster.run("mgr", "module", "release", "ledger")
        except MgrError:
            return False
        return True

    with contextlib.suppress(TimeoutError):
        wait_for(released, "the release of the module", within_s)


def victim(lab: Lab, rng: Random) -> Manager:
    """The active mostly, as far as it is known; else anybody."""
    leader = lab.recorder.terms[-1].name
    name = leader if rng.random() < 0.75 else rng.choice(NAMES)
    return lab.cluster.managers[name]


# -- processes ------------------------------------------------------------------------------------


def kill_worker(lab: Lab, rng: Random) -> None:
    """SIGKILL, SIGSEGV or SIGABRT of a worker."""
    number = rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
    for pid in process.workers(victim(lab, rng).guard_pid):
        send_signal(pid, number)


def freeze_worker(lab: Lab, rng: Random) -> None:
    """SIGSTOP of a worker: its watchdog kills it."""
    for pid in process.workers(victim(lab, rng).guard_pid):
        send_signal(pid, signal.SIGSTOP)


def kill_guard(lab: Lab, rng: Random) -> None:
    """SIGKILL of a guard, and with it of its worker."""
    send_signal(victim(lab, rng).guard_pid, signal.SIGKILL)


def freeze_guard(lab: Lab, rng: Random) -> None:
    """SIGSTOP of a guard: its worker goes on alone."""
    send_signal(victim(lab, rng).guard_pid, signal.SIGSTOP)


def freeze_host(lab: Lab, rng: Random) -> None:
    """SIGSTOP of guard, reaper and worker: a paused virtual machine."""
    lab.freeze_host(victim(lab, rng))


def freeze_at_a_failpoint(lab: Lab, rng: Random) -> None:
    """A worker stops between a check and the action, and its guard before it can kill it."""
    manager = victim(lab, rng)
    point = lab.arm(manager.name, rng.choice([Point.WRITE, Point.COMMAND]))
    with contextlib.suppress(TimeoutError):
        wait_for(lambda: not point.exists(), "the failpoint to be reached", STOPPED_WITHIN_S)
        send_signal(manager.guard_pid, signal.SIGSTOP)


def guard_at_a_failpoint(lab: Lab, rng: Random) -> None:
    """A guard stops or dies as it acquires leadership, sends a heartbeat or releases leadership."""
    manager = victim(lab, rng)
    point = rng.choice([Point.LEADER_HEARTBEAT, Point.WON, Point.RELEASE])
    lab.arm(manager.name, point, rng.choice(["SIGSTOP", "SIGKILL"]))
    if point is not Point.LEADER_HEARTBEAT:
        for pid in process.workers(manager.guard_pid):
            send_signal(pid, signal.SIGKILL)


def no_descriptors(lab: Lab, rng: Random) -> None:
    """A worker can open nothing more, and its connections to etcd break."""
    manager = victim(lab, rng)
    for pid in process.workers(manager.guard_pid):
        take_descriptors(pid)
    lab.cables.reset(manager.name, party=WORKER)


def stop_manager(lab: Lab, rng: Random) -> None:
    """SIGTERM: hand over and end."""
    send_signal(victim(lab, rng).guard_pid, signal.SIGTERM)


def fail_over(lab: Lab, rng: Random) -> None:
    """``mgr fail``, to anybody."""
    del rng
    _run(lab, "mgr", "fail")


def break_module(lab: Lab, rng: Random) -> None:
    """A module crashes its worker, holds the interpreter, or blocks the loop."""
    lab.break_module(rng.choice(["segfault", "abort", "exit", "hog", "block"]))


def start_helpers(lab: Lab, rng: Random) -> None:
    """A module starts processes that act on, and then its worker or its guard dies."""
    for _ in range(rng.randint(1, 3)):
        _run(lab, "ticker", "help", how=rng.choice(HELPERS))
    rng.choice([kill_worker, kill_guard, freeze_guard, cut])(lab, rng)


def abandon_module(lab: Lab, rng: Random) -> None:
    """A module that does not stop is disabled and enabled again, and then the active changes."""
    _run(lab, "ticker", "stubborn")
    _run(lab, "mgr", "module", "disable", "ticker")
    lab.pause(ABANDONED_S)
    _run(lab, "mgr", "module", "enable", "ticker")
    fail_over(lab, rng)


# -- cables ---------------------------------------------------------------------------------------


def cut(lab: Lab, rng: Random) -> None:
    """A manager is cut off from every etcd, both ways or one."""
    mode = rng.choice([Mode.PAUSE, Mode.REQUESTS_ONLY, Mode.ANSWERS_ONLY])
    lab.cables.set(victim(lab, rng).name, mode)


def reset(lab: Lab, rng: Random) -> None:
    """Every connection of a manager to etcd breaks."""
    lab.cables.reset(victim(lab, rng).name)


def cut_guard(lab: Lab, rng: Random) -> None:
    """Only a guard is cut off."""
    _cut_part(lab, rng, GUARD)


def cut_worker(lab: Lab, rng: Random) -> None:
    """Only a worker is cut off."""
    _cut_part(lab, rng, WORKER)


def _cut_part(lab: Lab, rng: Random, party: str) -> None:
    mode = rng.choice([Mode.PAUSE, Mode.REQUESTS_ONLY, Mode.ANSWERS_ONLY, Mode.REFUSE])
    name = victim(lab, rng).name
    lab.cables.set(name, mode, party=party)
    if mode is Mode.REFUSE:
        lab.cables.reset(name, party=party)


def hold_up(lab: Lab, rng: Random) -> None:
    """What a worker asks one of the etcds arrives late, whatever becomes of the asker."""
    number, late_s = rng.randrange(3), rng.uniform(0.5, LATE_S_MAX)
    lab.cables.hold_up(victim(lab, rng).name, late_s, party=WORKER, number=number)


def slow(lab: Lab, rng: Random) -> None:
    """A manager's way to etcd takes long."""
    lab.cables.slow(victim(lab, rng).name, rng.uniform(0.01, DELAY_S_MAX))


# -- etcd -----------------------------------------------------------------------------------------


def kill_etcd(lab: Lab, rng: Random) -> None:
    """SIGKILL of one etcd: the leader or another."""
    lab.etcd.members[rng.randrange(3)].kill()


def freeze_etcd(lab: Lab, rng: Random) -> None:
    """SIGSTOP of one etcd."""
    lab.etcd.members[rng.randrange(3)].freeze()


def lose_quorum(lab: Lab, rng: Random) -> None:
    """Two etcds stop."""
    for member in rng.sample(lab.etcd.members, 2):
        member.freeze()


def delete_leader_key(lab: Lab, rng: Random) -> None:
    """The leader key is deleted, as an operator could do."""
    del rng
    with contextlib.suppress(StoreError):
        lab.in_store(Delete(lab.keys.leader))


def overwrite_leader_key(lab: Lab, rng: Random) -> None:
    """The leader key is overwritten: a put without a lease."""
    del rng
    with contextlib.suppress(StoreError):
        lab.in_store(Put(lab.keys.leader, "by hand"))


FAULTS: Final[dict[str, Fault]] = {
    fault.__name__: fault
    for fault in (
        kill_worker,
        freeze_worker,
        kill_guard,
        freeze_guard,
        freeze_host,
        freeze_at_a_failpoint,
        guard_at_a_failpoint,
        stop_manager,
        fail_over,
        break_module,
        no_descriptors,
        start_helpers,
        abandon_module,
        cut,
        cut_guard,
        cut_worker,
        hold_up,
        reset,
        slow,
        kill_etcd,
        freeze_etcd,
        lose_quorum,
        delete_leader_key,
        overwrite_leader_key,
    )
}
"""What a soak chooses from."""


def take_descriptors(pid: int) -> None:
    """Let a process open nothing more, for as long as it lives.

    The hard limit, too: a worker raises the soft one again, as what a module has changed
    (docs/adr/0074). Nobody may raise the hard one again, so ``heal`` ends such a process.
    """
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))


def _has_no_descriptors(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[1] == 0
    return False


def _run(lab: Lab, *words: str, **arguments: str) -> None:
    """A command that may fail, as all do where faults come together."""
    with contextlib.suppress(MgrError):
        lab.cluster.run(*words, timeout_s=5, **arguments)
