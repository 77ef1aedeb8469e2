"""The environment of a benchmark: a real etcd in memory and a cluster of real processes."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.support.cluster import Cluster
from tests.support.etcd import Etcd

MODULES = Path(__file__).parent / "modules"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A benchmark of the product should not measure this machine's disk."""
PATIENT: Final = {"lease_ttl_s": 60, "watchdog_s": 60, "profile": "off"}
"""On a busy machine a manager that is measured is not to lose its leadership in the middle."""


class Setting(contextlib.ExitStack):
    """An etcd and a cluster with the probe module; both are gone after the exit."""

    def __init__(self, *, module_path: str | Path = MODULES, **settings: Any) -> None:
        super().__init__()
        directory = Path(
            self.enter_context(tempfile.TemporaryDirectory(prefix="mgr-bench-", dir=MEMORY))
        )
        try:
            self.etcd = self.enter_context(Etcd(directory / "etcd"))
            self.cluster = self.enter_context(
                Cluster(directory, self.etcd.endpoints, module_path=module_path, **settings)
            )
        except BaseException:
            self.close()
            raise
