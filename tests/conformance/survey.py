"""Have every module of a generation run on one real manager, and write down what became of it."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mgr.client.blocking import Client
from mgr.errors import MgrError
from tests.conformance.packages import Packages
from tests.support.cluster import Cluster, wait_for

PATIENCE_S: Final = 20
REFUSALS: Final = {-errno.EOPNOTSUPP, -errno.EINVAL}
"""The answers that a command has when nothing of its module ran, or that blew up."""


@dataclass(frozen=True)
class Row:
    """What became of one module.

    Attributes:
        asked: Its commands that can be asked without arguments and change nothing.
        answered: Those of them that answered, also if they said no.
        missing: Why it does not work; empty if it does.

    """

    name: str
    loads: bool
    serves: bool
    commands: int
    asked: int
    answered: int
    missing: str


def cluster(packages: Packages, directory: Path, etcd: Sequence[str], **settings: Any) -> Cluster:
    """Managers that have these modules and none of ours."""
    return Cluster(
        directory, etcd, module_path=packages.module_path, bundled_skip="all", **settings
    )


def taken(packages: Packages, etcd: Sequence[str]) -> list[Row]:
    """Load, enable and ask every module; the manager outlives it all."""
    with (
        tempfile.TemporaryDirectory() as directory,
        cluster(packages, Path(directory), etcd, names=("a",)) as running,
    ):
        worker = running.active(60).worker_pid
        with running.client() as client:
            for name in packages.names:
                client.execute(["mgr", "module", "enable", name], timeout_s=PATIENCE_S)
            rows = [_row(name, client) for name in packages.names]
        assert running.active().worker_pid == worker, "a module took the manager down"
    return rows


def _row(name: str, client: Client) -> Row:
    listed = _asked(client, "mgr module ls")
    known = {one["name"]: one for one in listed["disabled_modules"]}
    if name in known:
        return Row(name, False, False, 0, 0, 0, known[name]["error_string"])  # noqa: FBT003 - two columns
    failed = wait_for(lambda: _settled(name, client), f"{name} to run or to fail", PATIENCE_S)
    answers = [_answers(client, prefix) for prefix in _harmless(name, client)]
    return Row(
        name=name,
        loads=True,
        serves=not failed["error"],
        commands=failed["commands"],
        asked=len(answers),
        answered=sum(answers),
        missing=failed["error"],
    )
