"""Run benchmarks: ``python -m bench [NAME ...]``; all of them without a name."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

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


# Processes are started while clients are open, by fork and exec: there is nothing to prepare.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")


def main(names: list[str]) -> int:
    """Run each and print its report as soon as it is there.

    Returns 1 if a cluster did not settle, as on a machine that is too busy to measure on.
    """
    failed = False
    for name in names or NAMES:
        if name not in NAMES:
            sys.stderr.write(f"no benchmark {name!r}; there are: {', '.join(NAMES)}\n")
            return 2
        try:
            importlib.import_module(f"bench.{name}").run().print()
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
