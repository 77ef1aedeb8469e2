"""One row of the matrix: a fault, what must hold under it, and how it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, Final

from mgr.clock import CLOCK
from tests.support import process
from tests.support.cluster import Manager, wait_for
from tests.support.faults.breaking import heal
from tests.support.faults.lab import Lab
from tests.support.faults.namespaces import unavailable

Figures = dict[str, float]
"""What one run measured: milliseconds by name, or counts."""
Run = Callable[[Lab, Random], Figures]
Inject = Callable[[Lab, Manager], object]

KEY: Final = "key"
"""From the fault until a standby holds the leader key."""
COMMAND: Final = "command"
"""From the fault until a retrying client's command was answered in the next term."""
NOBODY: Final = "nobody"
"""How long nobody held the key."""
CHANGES: Final = "changes"
"""How often the active changed; a count."""
HELD: Final = "held"
"""The longest that a command took which was answered."""
WORKER_ENDED: Final = "worker ended"
"""From the fault until the worker of the term was gone."""
ANSWERED: Final = "answered"
"""From the fault until a command was answered in the next term, or the longest such wait."""
COUNTS: Final = frozenset({CHANGES, "late writes", "failed", "refused"})
"""Figures that are no milliseconds."""

FAILOVER_WITHIN_S: Final = 30.0
ROOM: Final = 16 << 20
"""Bytes of an etcd that has little room."""


class Place(Enum):
    """Which laboratory a row needs."""

    PLAIN: Final = "three etcds and three managers on loopback"
    WIRED: Final = "the same, each manager's way to etcd through proxies"
    BUSY: Final = "the same as plain, under 200 commands a second"
    NAMESPACES: Final = "the same, each in a network namespace of its own"
    CLOCKS: Final = "the same, two managers with other boot clocks"
    STORE: Final = "the same as plain, and no module acts outside"
    WIRED_STORE: Final = "the same as wired, and no module acts outside"
    NAMESPACES_STORE: Final = "the same as namespaces, and no module acts outside"
    SMALL: Final = "the same as store, the etcds with little room"

    def settings(self) -> dict[str, Any]:
        """How the laboratory is made."""
        return {
            Place.PLAIN: {},
            Place.WIRED: {"wired": True},
            Place.BUSY: {"clients": 8, "pause_s": 0.035},
            Place.NAMESPACES: {"namespaces": True},
            Place.CLOCKS: {"clocks": True},
            Place.STORE: {"external": False},
            Place.WIRED_STORE: {"wired": True, "external": False},
            Place.NAMESPACES_STORE: {"namespaces": True, "external": False},
            Place.SMALL: {"etcd_flags": {"quota-backend-bytes": str(ROOM)}, "external": False},
        }[self]


HOSTS: Final = frozenset({Place.NAMESPACES, Place.NAMESPACES_STORE})
"""Those in which every process has a host of its own."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as the reference numbers it.

    Attributes:
        holds: What must hold, beside what always must (``tests/support/faults/verdict.py``).
        run: Does it once; raises where what must hold does not.
        fast: A row of ``make test``; the others are run by ``make matrix``.
        runs: How often ``make matrix`` does it.
        targets: The largest that the 99th percentile of a figure may be.
        elsewhere: The test that shows it, if not this one.
        not_here: Why it is not injected on this machine, or what of it is not.
        needs: Says why it cannot be done on this machine; empty if it can.

    """

    number: int
    fault: str
    holds: str
    run: Run | None = None
    place: Place = Place.PLAIN
    fast: bool = False
    runs: int = 20
    targets: Mapping[str, float] = field(default_factory=dict)
    elsewhere: str = ""
    not_here: str = ""
    needs: Callable[[], str] = str

    def obstacle(self) -> str:
        """Why it is not done here; empty if it is."""
        if self.run is None:
            return self.not_here or "shown elsewhere"
        return self.needs() or (unavailable() if self.place in HOSTS else "")


def failover(inject: Inject) -> Run:
    """Lose the active by ``inject``, and measure until another one leads and answers."""

    def run(lab: Lab, rng: Random) -> Figures:
        del rng
        active = lab.settled()
        return measured(lab, lambda: inject(lab, active))

    return run


def measured(lab: Lab, inject: Callable[[], object]) -> Figures:
    """Do ``inject`` and wait for the next term, and for an answer in it."""
    terms, endings = lab.recorder.terms, lab.recorder.endings
    count, term, begun_s = len(terms), terms[-1].term, CLOCK.now()
    inject()
    wait_for(lambda: len(terms) > count, "the next leader key", FAILOVER_WITHIN_S)
    first = wait_for(
        lambda: lab.record.first_after(begun_s, term), "an answer of it", FAILOVER_WITHIN_S
    )
    return {
        KEY: (terms[count].seen_s - begun_s) * 1e3,
        COMMAND: (first.ended_s - begun_s) * 1e3,
        NOBODY: (terms[count].seen_s - endings[count - 1]) * 1e3,
    }


def ended(inject: Inject, *, lasts_s: float) -> Run:
    """Do ``inject`` for longer than a deadline, with a module that acts outside.

    Its worker is ended by the clock; once etcd answers again somebody leads, and answers.
    """

    def run(lab: Lab, rng: Random) -> Figures:
        del rng
        active = lab.settled()
        worker, term, begun_s = active.worker_pid, lab.recorder.terms[-1].term, CLOCK.now()
        inject(lab, active)
        wait_for(lambda: process.gone(worker), "the clock to end the worker", lasts_s)
        ended_s = CLOCK.now()
        lab.pause(max(0.0, begun_s + lasts_s - CLOCK.now()))
        heal(lab)
        healed_s = CLOCK.now()
        first = wait_for(
            lambda: lab.record.first_after(healed_s, term), "an answer in the next term", 30
        )
        lab.settled()
        return {
            WORKER_ENDED: (ended_s - begun_s) * 1e3,
            ANSWERED: max(0.0, first.ended_s - healed_s) * 1e3,
        }

    return run


def stands(inject: Inject, *, lasts_s: float, changes_max: int = 0) -> Run:
    """Do ``inject`` for a while; the active stays, and commands are at worst held."""

    def run(lab: Lab, rng: Random) -> Figures:
        del rng
        active = lab.settled()
        count, begun_s = len(lab.recorder.terms), CLOCK.now()
        inject(lab, active)
        lab.pause(lasts_s)
        heal(lab)
        lab.settled()
        changes = len(lab.recorder.terms) - count
        assert changes <= changes_max, f"the active changed {changes} times"
        return {CHANGES: changes, HELD: lab.record.longest_wait_s(begun_s) * 1e3}

    return run
