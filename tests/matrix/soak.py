"""Random faults for minutes, under load, and a verdict. The seed is the reproduction.

``python -m tests.matrix.soak --seed 7 --minutes 30``, or ``make soak SEED=7 MINUTES=30``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

import click

from mgr.clock import CLOCK, timestamp
from mgr.errors import MgrError
from mgr.store.etcd import EtcdStore
from tests.support.cluster import wait_for
from tests.support.faults.breaking import FAULTS, heal, release_module
from tests.support.faults.lab import Lab
from tests.support.faults.late import Findings, Frozen, freeze
from tests.support.faults.schedule import Fault, Schedule

RECOVERED_WITHIN_S = 90
"""Long after the longest pause of a manager whose workers have crashed too often."""
SUMMARY_EVERY = 20


@dataclass
class Soak:
    """One run: what was done, and what was found."""

    seed: int
    minutes: float
    freezes: int
    without: frozenset[str] = frozenset()
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    summary: str = ""

    def run(self) -> None:
        """Break, heal, look; again and again."""
        ends_at = CLOCK.now() + self.minutes * 60
        names = [name for name in FAULTS if name not in self.without]
        with Lab(wired=True, clients=3, pause_s=0.02) as lab:
            for number, faults in enumerate(Schedule(random.Random(self.seed), names)):
                if CLOCK.now() > ends_at or self.violations:
                    break
                self._round(lab, number, faults)
            self.violations = list(dict.fromkeys([*self.violations, *lab.judged()]))
            self.summary = self._summary(lab)
            self._late(lab)

    def _round(self, lab: Lab, number: int, faults: list[Fault]) -> None:
        for fault in faults:
            FAULTS[fault.name](lab, random.Random(fault.seed))
            self.faults[fault.name] += 1
        wait_s = max(fault.lasts_s for fault in faults)
        lab.pause(wait_s)
        heal(lab)
        release_module(lab, RECOVERED_WITHIN_S)
        healed_s = CLOCK.now()
        names = " + ".join(fault.name for fault in faults)
        try:
            wait_for(lambda: lab.record.first_after(healed_s, 0), "an answer", RECOVERED_WITHIN_S)
        except TimeoutError:
            self.violations.append(f"nobody answered for {RECOVERED_WITHIN_S} s after {names}")
        else:
            # A fault may have left it disabled.
            with contextlib.suppress(MgrError, AssertionError):
                lab.cluster.enable("ticker")
            self.violations += lab.lagging()
        self.violations += lab.found().values()
        for violation in self.violations:
            _say(f"VIOLATION: {violation}")
        took_s = CLOCK.now() - healed_s
        _say(f"{number:5d} {names} for {wait_s:.1f} s; answered {took_s:.2f} s after healing")
        if number % SUMMARY_EVERY == 0:
            _say(self._summary(lab))

    def _late(self, lab: Lab) -> None:
        """Freeze writers right before they send, on the same etcds."""
        with Frozen(lab.etcd.endpoints[0], lab.directory) as writer:
            found = asyncio.run(_frozen(lab.etcd.endpoints, writer, self.freezes))
        self.summary += f"; {found.freezes} frozen writers, {found.accepted} late writes"
        if found.accepted:
            self.violations.append(f"{found.accepted} late writes landed")

    def _summary(self, lab: Lab) -> str:
        record, recorder = lab.record, lab.recorder
        refused = sum(not effect.accepted for effect in lab.sink.effects)
        return (
            f"seed {self.seed}: {record.commands} commands, {sum(self.faults.values())} faults of "
            f"{len(self.faults)} kinds, {len(recorder.terms)} terms, "
            f"{len(recorder.deposed)} depositions, {recorder.writes} guarded writes, "
            f"{lab.sink.ticks.count} effects of modules that ask nobody ("
            f"{sum(each.late for each in lab.sink.ticks.after_a_pause())} of helpers whose host "
            "went on after a pause), "
            f"{len(lab.sink.effects)} other effects outside ({refused} late ones refused there), "
            f"{len(record.unknown)} outcomes unknown, {len(record.failed)} commands failed, "
            f"{len(self.violations)} violations"
        )


async def _frozen(endpoints: tuple[str, ...], writer: Frozen, freezes: int) -> Findings:
    store = EtcdStore(endpoints)
    try:
        return await freeze(store, writer, freezes)
    finally:
        await store.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{timestamp()} {line}\n")
    sys.stdout.flush()


@click.command()
@click.option("--seed", type=int, default=None, help="Of an earlier run, to repeat it")
@click.option("--minutes", type=float, default=30.0, show_default=True)
@click.option("--freezes", type=int, default=10_000, show_default=True, help="Of writers")
@click.option("--without", default="", help="Names of faults to leave out, separated by commas")
def main(seed: int | None, minutes: float, freezes: int, without: str) -> None:
    """Run one soak; exit status 1 if it found anything."""
    left_out = frozenset(filter(None, without.split(",")))
    if unknown := left_out - FAULTS.keys():
        raise click.BadParameter(f"no such faults: {', '.join(sorted(unknown))}")
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    soak = Soak(seed, minutes, freezes, left_out)
    _say(f"seed {soak.seed}, {minutes:g} minutes")
    soak.run()
    for name, count in sorted(soak.faults.items()):
        _say(f"{count:5d} {name}")
    for violation in soak.violations:
        _say(f"VIOLATION: {violation}")
    _say(soak.summary)
    sys.exit(bool(soak.violations))


if __name__ == "__main__":
    main()
