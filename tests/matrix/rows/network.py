"""Rows 15 to 20: cables are cut, one way or both, and lose what they carry."""

from __future__ import annotations

from random import Random

import httpx

from mgr.clock import CLOCK
from tests.matrix.row import CHANGES, KEY, Figures, Place, Row, failover, measured, stands
from tests.support.cluster import Manager, wait_for
from tests.support.faults.breaking import heal
from tests.support.faults.lab import NAMES, Lab
from tests.support.faults.proxy import Mode

TTL_S = 5
UNAVAILABLE = 503


def cut_from_etcd(lab: Lab, active: Manager) -> None:
    lab.cables.set(active.name, Mode.PAUSE)


def lose_answers(lab: Lab, active: Manager) -> None:
    lab.cables.set(active.name, Mode.REQUESTS_ONLY)


def reset(lab: Lab, active: Manager) -> None:
    lab.cables.reset(active.name)


def cut_standby(lab: Lab, rng: Random) -> Figures:
    """It may redirect for as long as a lease lasts, and not longer."""
    del rng
    lab.settled()
    standby = lab.standby()
    count, begun_s = len(lab.recorder.terms), CLOCK.now()
    lab.cables.set(standby.name, Mode.PAUSE)
    url = f"http://{standby.http_address}/anything"
    wait_for(lambda: httpx.get(url).status_code == UNAVAILABLE, "the standby to know nothing", 20)
    took_s = CLOCK.now() - begun_s
    heal(lab)
    lab.settled()
    assert len(lab.recorder.terms) == count
    return {"no more redirects": took_s * 1e3, CHANGES: 0}


def cut_from_clients(lab: Lab, active: Manager) -> None:
    lab.net.cut(active.name, "clients")


def cut_from_standbys(lab: Lab, active: Manager) -> None:
    for name in NAMES:
        if name != active.name:
            lab.net.cut(active.name, name)


def pull_the_cable(lab: Lab, rng: Random) -> Figures:
    """The whole host: nothing of it reaches anybody."""
    del rng
    active = lab.settled()
    return measured(lab, lambda: lab.net.unplug(active.name))


def one_way(lab: Lab, active: Manager) -> None:
    lab.net.deafen(active.name)


def lossy(lab: Lab, active: Manager) -> None:
    for name in NAMES:
        lab.net.lose(name, 0.05)


def very_lossy(lab: Lab, active: Manager) -> None:
    for name in NAMES:
        lab.net.lose(name, 0.3)


def slow(lab: Lab, active: Manager) -> None:
    """Each way 25 ms: as far as etcds of one cluster are ever put apart."""
    for name in NAMES:
        lab.cables.slow(name, 0.025)


ROWS = (
    Row(
        number=15,
        fault="the active is cut off from etcd, both ways",
        holds="suspended by its own clock, then deposed; no write of its lands",
        run=failover(cut_from_etcd),
        place=Place.WIRED,
        fast=True,
        targets={KEY: 700},
    ),
    Row(
        number=15,
        fault="the cable of the active's host is pulled",
        holds="the same, and clients find the other one",
        run=pull_the_cable,
        place=Place.NAMESPACES,
        targets={KEY: 700},
    ),
    Row(
        number=16,
        fault="the active's requests reach etcd, the answers are lost",
        holds="its heartbeats arrive, so its lease has to expire; nothing is done twice",
        run=failover(lose_answers),
        place=Place.WIRED,
        runs=10,
        targets={KEY: TTL_S * 1e3 + 1600},
    ),
    Row(
        number=16,
        fault="the same, by a rule of nftables that drops what comes in",
        holds="the same",
        run=failover(one_way),
        place=Place.NAMESPACES,
        runs=5,
        targets={KEY: TTL_S * 1e3 + 1600},
    ),
    Row(
        number=17,
        fault="the active is cut off from clients only",
        holds="it stays: to move would help no client that etcd can see",
        run=stands(cut_from_clients, lasts_s=10),
        place=Place.NAMESPACES,
        runs=3,
        targets={CHANGES: 0},
    ),
    Row(
        number=18,
        fault="the active is cut off from the standbys only",
        holds="its heartbeat grows in etcd: nobody deposes it",
        run=stands(cut_from_standbys, lasts_s=10),
        place=Place.NAMESPACES,
        runs=3,
        targets={CHANGES: 0},
    ),
    Row(
        number=19,
        fault="a standby is cut off from etcd",
        holds="it answers 503 once its view is older than a lease, never a stale address",
        run=cut_standby,
        place=Place.WIRED,
        runs=5,
        targets={"no more redirects": TTL_S * 1e3 + 500, CHANGES: 0},
    ),
    Row(
        number=20,
        fault="5 % of all packets lost",
        holds="suspensions at worst; the heartbeat timeout adapts",
        run=stands(lossy, lasts_s=20, changes_max=1),
        place=Place.NAMESPACES_STORE,
        runs=3,
    ),
    Row(
        number=20,
        fault="30 % of all packets lost",
        holds="the invariants; leadership may move",
        run=stands(very_lossy, lasts_s=20, changes_max=4),
        place=Place.NAMESPACES_STORE,
        runs=3,
        not_here="",
    ),
    Row(
        number=20,
        fault="25 ms each way between every manager and etcd",
        holds="nobody is deposed",
        run=stands(slow, lasts_s=10),
        place=Place.WIRED_STORE,
        runs=3,
        targets={CHANGES: 0},
        not_here="jitter, reordering and duplicates need tc netem, which this kernel has not",
    ),
    Row(
        number=15,
        fault="every connection of the active to etcd is reset",
        holds="it connects again, and stays",
        run=stands(reset, lasts_s=2),
        place=Place.WIRED_STORE,
        fast=True,
        runs=10,
        targets={CHANGES: 0},
    ),
)
