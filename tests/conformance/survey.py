"""Have every module of a generation run on one real manager, and write down what became of it."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mgr.client.blocking import Client
from mgr.errors import MgrError
from tests.conformance.packages import Packages
from tests.support.cluster import Cluster

IMPORTS_S: Final = 60
"""Within which one manager has imported everything, on a machine with other work."""
ANSWER_S: Final = 20
FAILED: Final = re.compile(r"Module '(\w+)' has failed: (.*)", re.DOTALL)
SETTLING_S: Final = 3.0
"""After which what fails in ``serve`` has failed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one module.

    Attributes:
        commands: How many it has.
        asked: Those of them that only read and need no argument.
        answered: Those of the asked that answered without a traceback, also if they said no.
        missing: Why it does not work; empty if it does.

    """

    name: str
    loads: bool = True
    serves: bool = True
    commands: int = 0
    asked: int = 0
    answered: int = 0
    missing: str = ""


def cluster(packages: Packages, directory: Path, etcd: Sequence[str], **settings: Any) -> Cluster:
    """Managers that have these modules and none of ours."""
    return Cluster(
        directory, etcd, module_path=packages.module_path, bundled_skip="all", **settings
    )


def taken(packages: Packages, directory: Path, etcd: Sequence[str]) -> list[Row]:
    """Load, enable and ask every module; the manager outlives it all."""
    commands = _declared(packages)
    with cluster(packages, directory, etcd, names=("a",)) as running:
        worker = running.active(IMPORTS_S).worker_pid
        with running.client() as client:
            for name in packages.names:
                client.execute(["mgr", "module", "enable", name], timeout_s=ANSWER_S)
            threading.Event().wait(SETTLING_S)
            failed = dict(_failures(client))
            unloaded = dict(_unloaded(client))
            rows = [
                _row(name, commands[name], unloaded.get(name), failed.get(name), client)
                for name in packages.names
            ]
        assert running.active().worker_pid == worker, "a module took the manager down"
    return rows


def _row(
    name: str,
    commands: Sequence[Mapping[str, Any]],
    unloaded: str | None,
    failed: str | None,
    client: Client,
) -> Row:
    if unloaded is not None:
        return Row(name=name, loads=False, serves=False, missing=unloaded)
    harmless = [one for one in commands if _harmless(one)]
    said = [_said(one, client) for one in harmless]
    return Row(
        name=name,
        serves=failed is None,
        commands=len(commands),
        asked=len(said),
        answered=said.count(""),
        missing=failed or next(filter(None, said), ""),
    )


def _declared(packages: Packages) -> dict[str, list[dict[str, Any]]]:
    """The commands of every module; read in a process of its own, for imports leave traces."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.conformance.declarations", *packages.module_path.split(",")],
        capture_output=True,
        text=True,
        timeout=IMPORTS_S,
        check=True,
    )
    return dict(json.loads(told.stdout))


def _harmless(described: Mapping[str, Any]) -> bool:
    return described["perm"] == "r" and not described["required"]


def _said(described: Mapping[str, Any], client: Client) -> str:
    """What is wrong with the answer of a command; empty if it answered."""
    words = described["prefix"].split()
    try:
        answer = client.execute(words, timeout_s=ANSWER_S)
    except MgrError as error:
        return f"{' '.join(words)}: {error}"
    broken = answer.retval == -errno.EINVAL and "Traceback" in answer.stderr
    return f"{' '.join(words)}: {answer.stderr.strip().splitlines()[-1]}" if broken else ""


def _failures(client: Client) -> Iterator[tuple[str, str]]:
    health = client.execute(["health", "detail"], {"format": "json"}, timeout_s=ANSWER_S)
    check = json.loads(health.text)["checks"].get("MGR_MODULE_ERROR", {"detail": []})
    for line in check["detail"]:
        if told := FAILED.fullmatch(line["message"]):
            yield told[1], told[2]


def _unloaded(client: Client) -> Iterator[tuple[str, str]]:
    listed = client.execute(["mgr", "module", "ls"], {"format": "json"}, timeout_s=ANSWER_S)
    for one in json.loads(listed.text)["disabled_modules"]:
        if not one["can_run"]:
            yield one["name"], one["error_string"]
