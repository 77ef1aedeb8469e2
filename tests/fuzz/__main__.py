"""``python -m tests.fuzz``: run random inputs through every parser; report the unexpected."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path

from mgr.clock import CLOCK
from tests.fuzz.mutate import Mutator
from tests.fuzz.parsers import TARGETS, Target

SLOW_S = 0.25
"""An input of a few kilobytes that takes longer is reported."""
KEPT = Path(__file__).with_name("kept.jsonl")
"""Inputs that found something once: one line each, as ``keep`` writes them. ``make test`` runs
them."""
BATCH = 1000


class Fuzzer:
    """Runs random inputs through one target. The same seed gives the same inputs."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.done = 0
        self.took_s = 0.0
        self.found: list[str] = []
        self.culprits: list[str | bytes] = []
        self._seed = seed
        mutator = Mutator(seed)
        self._make = mutator.data if isinstance(target.samples[0], bytes) else mutator.text

    def run(self, inputs: int) -> None:
        """Run some more inputs, until five have found something."""
        began_s = time.thread_time()
        for _ in range(inputs):
            if len(self.found) >= 5:
                break
            self.check(self._make(self.target.samples))
            self.done += 1
        self.took_s += time.thread_time() - began_s

    def check(self, given: str | bytes) -> None:
        """Run one input; note what it should not have done."""
        began_s = time.thread_time()
        wrong = ""
        try:
            self.target.run(given)
        except self.target.errors:
            pass
        except Exception:  # noqa: BLE001 - this is what is looked for
            wrong = traceback.format_exc()
        took_s = time.thread_time() - began_s
        if took_s > SLOW_S:
            wrong += f"took {took_s:.3f} s"
        if wrong:
            self.culprits.append(given)
            place = f"{self.target.name}, seed {self._seed}, input {self.done}"
            self.found.append(f"{place}: {given!r}\n{wrong}")


def fuzz(target: Target, inputs: int, seed: int) -> list[str]:
    """What ``target`` did with ``inputs`` inputs that it should not have done."""
    fuzzer = Fuzzer(target, seed)
    fuzzer.run(inputs)
    return fuzzer.found


def kept(name: str, file: Path = KEPT) -> list[str | bytes]:
    """The inputs that are kept for the target ``name``."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        bytes.fromhex(each["hex"]) if "hex" in each else each["text"]
        for each in lines
        if each["target"] == name
    ]


def keep(name: str, given: str | bytes, file: Path = KEPT) -> None:
    """Write down an input that found something, so that ``make test`` runs it from now on."""
    content = {"hex": given.hex()} if isinstance(given, bytes) else {"text": given}
    with file.open("a") as lines:
        lines.write(json.dumps({"target": name, **content}) + "\n")


def main() -> int:
    """Fuzz every target; 1 if anything was found, 2 if the time was too short for all inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--seconds", type=float, default=1800, help="the longest it may take")
    parser.add_argument("--seed", type=int, default=None, help="default: of the clock")
    arguments = parser.parse_args()
    seed = time.time_ns() % 2**32 if arguments.seed is None else arguments.seed
    until_s = CLOCK.now() + arguments.seconds
    sys.stdout.write(f"seed {seed}: {arguments.inputs} inputs for {len(TARGETS)} parsers\n")
    fuzzers = [Fuzzer(target, seed) for target in TARGETS]
    # In turns, so that a time that is too short is not too short for the last ones only.
    while sum(each.done for each in fuzzers) < arguments.inputs and CLOCK.now() < until_s:
        going = [each for each in fuzzers if len(each.found) < 5]
        if not going:
            break
        for each in going:
            each.run(BATCH)
    return report(fuzzers, arguments.inputs)


def report(fuzzers: list[Fuzzer], wanted: int) -> int:
    """Print what was done and found, keep what found something; the exit status."""
    for each in fuzzers:
        counts = f"{each.done:8} inputs {each.took_s:7.1f} s  {len(each.found)} found"
        sys.stdout.write(f"{each.target.name:18} {counts}\n")
        for text, given in zip(each.found, each.culprits, strict=True):
            sys.stderr.write(f"{text}\n")
            keep(each.target.name, given)
    done = sum(each.done for each in fuzzers)
    sys.stdout.write(f"{done} inputs in all\n")
    if any(each.found for each in fuzzers):
        sys.stdout.write(f"what found something is kept in {KEPT}\n")
        return 1
    return 0 if done >= wanted else 2


if __name__ == "__main__":
    sys.exit(main())
