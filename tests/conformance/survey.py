"""Runs every module of a generation on one real manager and records the results."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mgr.client.blocking import Client
from mgr.client.messages import Answer
from mgr.errors import MgrError
from tests.conformance.packages import Packages
from tests.support.ceph import ALL_BUT_CEPH, Ceph, Programs, fetch_programs
from tests.support.ceph import USER as CEPH_USER
from tests.support.cluster import Cluster, wait_for

IMPORTS_S: Final = 300
"""Time limit for a manager to import all modules, on a busy machine."""
ANSWER_S: Final = 60
UNHURRIED: Final = {"watchdog_s": 30, "profile": "off", "lease_ttl_s": 60}
"""Settings for managers that import large modules: on a busy machine that stops them for seconds,
and they would lose their term, which is not what is tested."""
FAILED: Final = re.compile(r"Module '(\w+)' has failed: (.*)", re.DOTALL)
CONSEQUENCE: Final = "has experienced an error and cannot handle commands"
SETTLING_S: Final = 3.0
"""Time after which a failing ``serve`` has failed."""
NONSENSE: Final = "no such value"
LEFT_OUT: Final = re.compile(
    # One sends over the internet, one keeps every core busy, one wants modules that are disabled.
    r"telemetry send|feedback (list|report)|mgr self-test (background start|remote)"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one module.

    Attributes:
        commands: How many it has.
        answered: Those of them that answered without a traceback, also if they said no.
        options: How many it declares, beside those that every module has.
        accepted: Those of them that took their default as text, showed it, and refused nonsense.
        causes: Why it, or a command or option of it, does not work; empty if all does.

    """

    name: str
    loads: bool = True
    serves: bool = True
    commands: int = 0
    answered: int = 0
    options: int = 0
    accepted: int = 0
    causes: tuple[str, ...] = ()


def relaxed_settings(module_path: str) -> dict[str, Any]:
    """Make settings for managers with these modules, none of ours, and time to import them."""
    return {"module_path": module_path, "bundled_skip": "all", "module_load_s": IMPORTS_S}


def run_survey(
    packages: Packages,
    directory: Path,
    etcd: Sequence[str],
    ceph: Ceph | None = None,
    only: Sequence[str] = (),
) -> list[Row]:
    """Load, enable, configure and call every module; the manager must survive it.

    With ``ceph``, which they may change as they like, they work on a real cluster. ``only`` names
    those to try, if not all.
    """
    names = [name for name in packages.names if not only or name in only]
    declared = _declared(packages)
    settings = {**relaxed_settings(packages.module_path), **UNHURRIED}
    environments = {}
    if ceph is not None:
        bindings = fetch_programs()
        settings |= ceph_settings(ceph, bindings, packages.module_path)
        environments["a"] = bindings.environment
    with Cluster(directory, etcd, names=("a",), environments=environments, **settings) as running:
        worker = running.active(IMPORTS_S).worker_pid
        with running.client() as client:
            if ceph is not None:
                _connect(client)
            path = str(packages.program)
            client.execute(["config", "set", "mgr", "cephadm_path", path], timeout_s=ANSWER_S)
            for name in names:
                client.execute(["mgr", "module", "enable", name], timeout_s=ANSWER_S)
            threading.Event().wait(SETTLING_S)
            unloaded = dict(_unloaded(client))
            failed = dict(_failures(client))
            rows = [
                Row(name=name, loads=False, serves=False, causes=(unloaded[name],))
                if name in unloaded
                else _row(name, declared[name], failed.get(name, ""), client)
                for name in names
            ]
            # What was set and asked may have broken one that was well.
            failed = dict(_failures(client))
        assert running.active().worker_pid == worker, "a module took the manager down"
    return [
        replace(row, serves=False, causes=_unique([failed[row.name], *row.causes]))
        if row.name in failed
        else row
        for row in rows
    ]


def ceph_settings(ceph: Ceph, bindings: Programs, *folders: str) -> dict[str, Any]:
    """Make settings for managers beside ``ceph``: of our modules they have ``ceph`` only."""
    return {
        "module_path": ",".join([*folders, str(bindings.python_packages)]),
        "bundled_skip": ALL_BUT_CEPH,
        "ceph_conf": ceph.conf,
        "ceph_name": CEPH_USER,
        "ceph_keyring": ceph.keyring,
    }


def _connect(client: Client) -> None:
    """Enable the module ``ceph`` and wait until it knows the cluster."""
    client.execute(["mgr", "module", "enable", "ceph"], timeout_s=ANSWER_S)

    def reached() -> bool:
        answer = client.execute(["ceph", "status"], {"format": "json"}, timeout_s=ANSWER_S)
        return answer.retval == 0 and bool(json.loads(answer.text)["reachable"])

    wait_for(reached, "the connection to Ceph", IMPORTS_S)


def _unique(causes: Iterable[str]) -> tuple[str, ...]:
    # That a failed module refuses its commands is a consequence of the cause that is listed.
    own = (cause for cause in causes if cause and CONSEQUENCE not in cause)
    return tuple(dict.fromkeys(own))


def _counted(problems: Iterable[str]) -> Iterator[str]:
    """Yield each cause once, with how many commands or options it stopped and the first of them."""
    by_cause: dict[str, list[str]] = {}
    for problem in filter(None, problems):
        where, _, cause = problem.partition(": ")
        by_cause.setdefault(cause, []).append(where)
    for cause, places in by_cause.items():
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        yield f"{places[0]}{more}: {cause}"


def _row(name: str, declared: Mapping[str, Any], failed: str, client: Client) -> Row:
    wrong = [_wrong(option, client) for option in declared["options"]]
    commands = [one for one in declared["commands"] if not LEFT_OUT.match(" ".join(one["words"]))]
    errors = [_call(one, client) for one in commands]
    return Row(
        name=name,
        commands=len(errors),
        answered=errors.count(""),
        options=len(wrong),
        accepted=wrong.count(""),
        causes=_unique([failed, *_counted(wrong), *_counted(errors)]),
    )


def _declared(packages: Packages) -> dict[str, dict[str, Any]]:
    """Return what every module declares; read in another process, because imports leave traces."""
    completed = subprocess.run(
        [sys.executable, "-m", "tests.conformance.declarations", *packages.module_path.split(",")],
        capture_output=True,
        text=True,
        timeout=IMPORTS_S,
        check=True,
    )
    return dict(json.loads(completed.stdout))


def _wrong(option: Mapping[str, Any], client: Client) -> str:
    """Return the error of an option; empty if it can be set, read and removed."""
    name, value = option["name"], option["value"]

    def config(*words: str) -> Answer:
        return client.execute(["config", *words], timeout_s=ANSWER_S)

    answer = config("set", "mgr", name, value)
    if answer.retval != 0:
        return f"config set {name} {value!r}: {answer.stderr}"
    shown = config("get", "mgr", name).text.strip()
    if shown != value:
        return f"config get {name}: {shown!r}, not {value!r}"
    if not option["free"] and config("set", "mgr", name, NONSENSE).retval == 0:
        return f"config set {name} {NONSENSE!r} was not refused"
    return config("rm", "mgr", name).stderr


def _call(command: Mapping[str, Any], client: Client) -> str:
    """Return the error of a command's answer; empty if it answered."""
    words = command["words"]
    try:
        answer = client.execute(words, data=command["input"].encode(), timeout_s=ANSWER_S)
    except MgrError as error:
        return f"{' '.join(words)}: {error}"
    broken = answer.retval == -errno.EINVAL and "Traceback" in answer.stderr
    return f"{' '.join(words)}: {answer.stderr.strip().splitlines()[-1]}" if broken else ""


def _failures(client: Client) -> Iterator[tuple[str, str]]:
    health = client.execute(["health", "detail"], {"format": "json"}, timeout_s=ANSWER_S)
    check = json.loads(health.text)["checks"].get("MGR_MODULE_ERROR", {"detail": []})
    for line in check["detail"]:
        if match := FAILED.fullmatch(line["message"]):
            yield match[1], match[2]


def _unloaded(client: Client) -> Iterator[tuple[str, str]]:
    listed = client.execute(["mgr", "module", "ls"], {"format": "json"}, timeout_s=ANSWER_S)
    for one in json.loads(listed.text)["disabled_modules"]:
        if not one["can_run"]:
            yield one["name"], one["error_string"]
