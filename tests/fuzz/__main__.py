"""``python -m tests.fuzz``: run random inputs through every parser; report the unexpected."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from mgr.clock import CLOCK
from tests.fuzz.mutate import Mutator
from tests.fuzz.parsers import TARGETS, Target

SLOW_S = 0.25
"""An input of a few kilobytes that takes longer is reported."""


def fuzz(target: Target, inputs: int, seed: int) -> list[str]:
    """What ``target`` did with ``inputs`` inputs that it should not have done."""
    mutator, found = Mutator(seed), []
    make = mutator.data if isinstance(target.samples[0], bytes) else mutator.text
    for number in range(inputs):
        given = make(target.samples)
        began_s = time.thread_time()
        try:
            target.run(given)
        except target.errors:
            pass
        except Exception:  # noqa: BLE001 - this is what is looked for
            text = traceback.format_exc()
            found.append(f"{target.name}, seed {seed}, input {number}: {given!r}\n{text}")
        took_s = time.thread_time() - began_s
        if took_s > SLOW_S:
            found.append(f"{target.name}, seed {seed}, input {number}: {took_s:.3f} s: {given!r}")
        if len(found) >= 5:
            break
    return found


def main() -> int:
    """Fuzz every target; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--seed", type=int, default=None, help="default: of the clock")
    arguments = parser.parse_args()
    seed = time.time_ns() % 2**32 if arguments.seed is None else arguments.seed
    each, status = -(-arguments.inputs // len(TARGETS)), 0
    sys.stdout.write(f"seed {seed}: {each} inputs for each of {len(TARGETS)} parsers\n")
    for target in TARGETS:
        began_s = CLOCK.now()
        found = fuzz(target, each, seed)
        took_s = CLOCK.now() - began_s
        sys.stdout.write(f"{target.name:18} {each:8} inputs {took_s:7.1f} s  {len(found)} found\n")
        sys.stdout.flush()
        for text in found:
            sys.stderr.write(f"{text}\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
