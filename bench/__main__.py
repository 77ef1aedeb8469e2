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
)


# Processes are started while clients are open, by fork and exec: there is nothing to prepare.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")


def main(names: list[str]) -> int:
    """Run each and print its report as soon as it is there."""
    for name in names or NAMES:
        if name not in NAMES:
            sys.stderr.write(f"no benchmark {name!r}; there are: {', '.join(NAMES)}\n")
            return 2
        importlib.import_module(f"bench.{name}").run().print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
