"""Rows 47 to 54: one of a manager's two processes is hurt, and the other one is well."""

from __future__ import annotations

import signal
from random import Random
from typing import Final

from mgr.clock import CLOCK
from tests.matrix.row import (
    ANSWERED,
    FAILOVER_WITHIN_S,
    KEY,
    WORKER_ENDED,
    Figures,
    Inject,
    Place,
    Row,
    Run,
    measured,
)
from tests.support import process
from tests.support.cluster import Manager, wait_for
from tests.support.faults.breaking import heal, take_descriptors
from tests.support.faults.lab import Lab
from tests.support.faults.peers import GUARD, WORKER
from tests.support.faults.proxy import Mode

LONG_S: Final = 12.0
"""Longer than a lease, and than any pause that is to be survived."""
UNFIT_WITHIN_S: Final = 8.0
"""In which a standby must have noticed that its worker does not reach etcd."""
ROUNDS: Final = 3
BOUND_S: Final = 20.0
"""In which there must be an active that writes and answers: a lease, a start, and some room."""


def hurt(inject: Inject, *, lasts_s: float = 0.0) -> Run:
    """Hurt a part of the active and leave it so; another manager leads and answers.

    The worker that was hurt, or left alone, must be gone before it can act in a term that is over:
    that is in the verdict. How long it lived is measured.
    """

    def run(lab: Lab, rng: Random) -> Figures:
        del rng
        active = lab.settled()
        worker, begun_s = active.worker_pid, CLOCK.now()
        figures = measured(lab, lambda: inject(lab, active))
        assert lab.recorder.terms[-1].name != active.name, "it leads again, hurt as it is"
        _answers_a_stranger(lab)
        lab.pause(max(0.0, begun_s + lasts_s - CLOCK.now()))
        wait_for(lambda: process.gone(worker), "the worker of the term to end", BOUND_S)
        heal(lab)
        lab.settled()
        return figures

    return run


def ended_by_the_clock(lab: Lab, rng: Random) -> Figures:
    """The worker may not live until somebody else leads: its module asks nobody."""
    del rng
    active = lab.settled()
    worker, begun_s = active.worker_pid, CLOCK.now()
    count = len(lab.recorder.terms)
    lab.cables.set(active.name, Mode.PAUSE)
    wait_for(lambda: process.gone(worker) or len(lab.recorder.terms) > count, "either", BOUND_S)
    assert process.gone(worker), "another one leads, and the worker lives"
    ended_s = CLOCK.now()
    first = wait_for(
        lambda: lab.record.first_after(begun_s, lab.recorder.terms[count - 1].term),
        "an answer in the next term",
        FAILOVER_WITHIN_S,
    )
    heal(lab)
    lab.settled()
    return {WORKER_ENDED: (ended_s - begun_s) * 1e3, ANSWERED: (first.ended_s - begun_s) * 1e3}


def stop_guard(lab: Lab, active: Manager) -> None:
    active.signal(signal.SIGSTOP)


def cut_guard(lab: Lab, active: Manager) -> None:
    lab.cables.set(active.name, Mode.PAUSE, party=GUARD)


def cut_worker(lab: Lab, active: Manager) -> None:
    lab.cables.set(active.name, Mode.PAUSE, party=WORKER)


def refuse_worker(lab: Lab, active: Manager) -> None:
    lab.cables.set(active.name, Mode.REFUSE, party=WORKER)
    lab.cables.reset(active.name, party=WORKER)


def no_descriptors(lab: Lab, active: Manager) -> None:
    """It may open nothing more, and what it had open to etcd breaks."""
    take_descriptors(active.worker_pid)
    lab.cables.reset(active.name, party=WORKER)


def standby_hurt(inject: Inject, *, every_worker: bool) -> Run:
    """A standby whose worker does not reach etcd is the only one left: it does not campaign.

    The third manager is stopped. Whoever leads dies again and again, and must lead again. If not
    ``every_worker`` of the standby is hurt, it may lead with the next one that its guard starts.
    """

    def run(lab: Lab, rng: Random) -> Figures:
        del rng
        active, standby = lab.settled(), lab.standby()
        [third] = [
            each
            for each in lab.cluster.managers.values()
            if each.name not in {active.name, standby.name}
        ]
        third.signal(signal.SIGTERM)
        third.wait()
        hurt_worker, led = standby.worker_pid, False
        inject(lab, standby)
        lab.pause(UNFIT_WITHIN_S)
        count = len(lab.recorder.terms)
        for _ in range(ROUNDS):
            term = lab.recorder.terms[-1].term
            begun_s = CLOCK.now()
            lab.cluster.managers[lab.recorder.terms[-1].name].signal(signal.SIGKILL, worker=True)
            wait_for(lambda t=term, s=begun_s: lab.record.first_after(s, t), "an answer", BOUND_S)
            if every_worker or not process.gone(hurt_worker):
                led |= standby.name in {term.name for term in lab.recorder.terms[count:]}
        heal(lab)
        lab.settled()
        assert not led, "a manager led whose worker does not reach etcd"
        return {ANSWERED: lab.record.longest_wait_s(begun_s) * 1e3}

    return run


def one_after_the_other(lab: Lab, rng: Random) -> Figures:
    """First the guard's connections break, then, in the next term, those of the next worker."""
    del rng
    first = lab.settled()
    figures = measured(lab, lambda: cut_guard(lab, first))
    second = lab.cluster.managers[lab.recorder.terms[-1].name]
    later = measured(lab, lambda: cut_worker(lab, second))
    leader = lab.recorder.terms[-1].name
    assert leader not in {first.name, second.name}, f"{leader} leads, cut off as it is"
    heal(lab)
    lab.settled()
    return {KEY: figures[KEY], "second key": later[KEY]}


def _answers_a_stranger(lab: Lab) -> None:
    """Someone who connects only now gets a write done as well."""

    def asked() -> bool:
        return bool(lab.cluster.run("ledger", "put", key="stranger", value="x").retval == 0)

    wait_for(asked, "an answer to a new client", BOUND_S)


ROWS = (
    Row(
        number=47,
        fault="the active is cut off from etcd; one of its modules acts outside and asks nobody",
        holds="its worker is ended by the clock before anybody else leads",
        run=ended_by_the_clock,
        place=Place.WIRED,
        fast=True,
    ),
    Row(
        number=48,
        fault="SIGSTOP of the guard alone for 12 s, later CONT",
        holds="its worker is ended by the clock; another manager leads",
        run=hurt(stop_guard, lasts_s=LONG_S),
        runs=5,
        targets={KEY: 700},
    ),
    Row(
        number=49,
        fault="the connections of the active's guard to etcd are cut, its worker's are not",
        holds="the same",
        run=hurt(cut_guard),
        place=Place.WIRED,
        fast=True,
        runs=10,
        targets={KEY: 700},
    ),
    Row(
        number=50,
        fault="the connections of the active's worker to etcd are cut, its guard's are not",
        holds="a manager whose guard *and* worker reach etcd leads, in bounded time",
        run=hurt(cut_worker),
        place=Place.WIRED,
        runs=5,
    ),
    Row(
        number=51,
        fault="etcd refuses every connection of the active's worker, its guard's not",
        holds="the same",
        run=hurt(refuse_worker),
        place=Place.WIRED,
        fast=True,
        runs=5,
    ),
    Row(
        number=52,
        fault="the active's worker can open no file descriptor any more, and its connections to "
        "etcd break",
        holds="the same",
        run=hurt(no_descriptors),
        place=Place.WIRED,
        runs=5,
    ),
    Row(
        number=53,
        fault="etcd refuses the connections of a standby's worker, and the active dies again "
        "and again",
        holds="that standby does not campaign, even where it is the only one",
        run=standby_hurt(refuse_worker, every_worker=True),
        place=Place.WIRED,
        runs=3,
    ),
    Row(
        number=53,
        fault="the same with a standby's worker that can open no file descriptor any more",
        holds="the same, until its guard has replaced that worker",
        run=standby_hurt(no_descriptors, every_worker=False),
        place=Place.WIRED,
        runs=3,
    ),
    Row(
        number=54,
        fault="the guard of the active is cut off from etcd, and then the worker of its successor",
        holds="the third manager leads",
        run=one_after_the_other,
        place=Place.WIRED,
        runs=3,
    ),
)
