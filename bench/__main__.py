"""Run benchmarks: ``python -m bench [--awake] [NAME ...]``; all of them without a name.

With ``--awake`` no core halts meanwhile (``bench/awake.py``).
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import nullcontext
from typing import Final

from bench.awake import NOTE, awake

NAMES: Final = (
    "command",
    "options_and_store",
    "between_modules",
    "isolation",
    "module_enable",
    "database",
    "failover",
    "fleet",
    "dashboard",
    "tracing",
    "cpu",
    "flame",
    "protected",
    "hostile",
    "growth",
    "peer",
    "orchestrator",
)
AWAKE: Final = "--awake"


# Processes are started while clients are open, by fork and exec: there is nothing to prepare.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")


def main(names: list[str]) -> int:
    """Run each and print its report as soon as it is there.

    Returns 1 if a cluster did not settle, as on a machine that is too busy to measure on.
    """
    failed, kept_awake = False, AWAKE in names
    for name in [name for name in names if name != AWAKE] or NAMES:
        if name not in NAMES:
            sys.stderr.write(f"no benchmark {name!r}; there are: {', '.join(NAMES)}\n")
            return 2
        try:
            with awake() if kept_awake else nullcontext():
                report = importlib.import_module(f"bench.{name}").run()
            report.notes += [NOTE] if kept_awake else []
            report.print()
        except TimeoutError as error:
            sys.stderr.write(f"\n== NOT MEASURED: {name}: {error}; {load()}\n\n")
            failed = True
    return int(failed)


def load() -> str:
    """How busy the machine is, in words."""
    cores, (one_minute, _, _) = len(os.sched_getaffinity(0)), os.getloadavg()
    advice = ": too busy to measure, try again" if one_minute > 2 * cores else ""
    return f"load {one_minute:.1f} on {cores} cores{advice}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
