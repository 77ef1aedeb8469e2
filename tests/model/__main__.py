"""Explore every scope and print its size; take out every protection: ``make check-model``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import click

from tests.model.checker import HEAD
from tests.model.scopes import DEEP, LIMITS, QUICK, REMOVALS, Checked, Make, run

PROCESSES: Final = 2
"""A large scope takes a gibibyte or two."""


def _run(number: int) -> Checked:
    logging.disable(logging.CRITICAL)
    return run(_MAKES[number])


_MAKES: list[Make] = []


def _all(makes: Sequence[Make]) -> Iterator[Checked]:
    """Search all models, two at a time, and yield their results in order."""
    _MAKES[:] = makes
    # Forked, since what makes a model cannot be sent to another process.
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("fork")) as pool:
        yield from pool.map(_run, range(len(makes)))


@click.command()
@click.option("--deep/--quick", default=False, help="The large scopes as well")
@click.option("--stories/--no-stories", default=True, help="Print the counterexamples")
def main(*, deep: bool, stories: bool) -> None:
    """Print sizes and counterexamples; exit status 1 if anything is not as it must be."""
    say = sys.stdout.write
    trouble = _sound(DEEP if deep else QUICK, say)
    say("\nwithout one protection: the shortest way to a violation\n\n")
    for removal, checked in zip(REMOVALS, _all([each.make for each in REMOVALS]), strict=True):
        found = checked.result.found
        say(f"{removal.protection}: {len(found.steps) if found else 'not missed'}\n")
        if found and stories:
            say(f"{found.story()}\n\n")
    say("\nwhat is not promised\n\n")
    for limit, checked in zip(LIMITS, _all(list(LIMITS.values())), strict=True):
        found = checked.result.found
        say(f"{limit}\n{found.story() if found else 'not found'}\n\n")
        trouble |= found is None
    sys.exit(int(trouble))


def _sound(makes: Mapping[str, Make], say: Callable[[str], object]) -> bool:
    """Explore every scope as built; whether one of them has a violation or was not finished."""
    say(f"{HEAD}\n")
    states = transitions = 0
    trouble = False
    for checked in _all(list(makes.values())):
        result = checked.result
        say(f"{checked.row()}\n")
        sys.stdout.flush()
        states += result.states
        transitions += result.transitions
        if result.found:
            say(f"{result.found.story()}\n")
        trouble |= result.found is not None or not result.complete
    say(f"{'all':34} {states:>10,} {transitions:>12,}\n")
    return trouble


if __name__ == "__main__":
    main()
