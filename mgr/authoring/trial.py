"""Runs a module without a cluster and writes down which rules it keeps: a program of its own.

``python -m mgr.authoring.trial FOLDER RESULTS``. The module's code may hang or end the process, so
each rule is written down before it is tried and when it is known, one JSON object a line.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

from mgr.clock import CLOCK
from mgr.host.finder import DiscoveredModule
from mgr.module_api.repeated import repeated_declarations
from mgr.testing.host import Host

SERVING_S: Final = 0.3
"""How long ``serve`` runs before ``shutdown`` is called."""
STOP_S: Final = 3.0
"""How long it may take to return after that."""
CALLBACK_S: Final = 1.0
"""How long a notification may take."""
LEFT_S: Final = 1.0
"""How long threads and processes may take to end after ``shutdown``."""
REASON_MAX: Final = 400


class Trial:
    """One run; ``results`` gets the lines."""

    def __init__(self, folder: Path, results: TextIO) -> None:
        self._folder = folder
        self._results = results
        self._threads = set(threading.enumerate())

    def run(self) -> None:
        """Try every rule for which the module has to run, until one makes the rest pointless."""
        with Host() as host:
            with self._rule("loads") as kept:
                found = host.find(self._folder)
                if found.active is None or not found.can_run:
                    kept(ok=False, reason=found.error)
            if found.active is None or not found.can_run:
                return
            with self._rule("declared-once") as kept:
                repeated = repeated_declarations(found.active)
                kept(ok=not repeated, reason="; ".join(repeated))
            with self._rule("described") as kept:
                missing = _undescribed(found)
                kept(ok=not missing, reason=f"no description: {', '.join(missing)}")
            with self._rule("effects-declared") as kept:
                kept(ok=found.effects is not None, reason="the class has no EFFECTS")
            with self._rule("manifest") as kept:
                manifest = found.manifest
                kept(
                    ok=manifest is not None and manifest.enforce,
                    reason="it is not enforced" if manifest else "there is no manifest",
                )
            with self._rule("constructs"):
                host.load(self._folder)
                if found.standby is not None:
                    host.standby()
            if host.module is not None:
                self._lives(host, found)

    def _lives(self, host: Host, found: DiscoveredModule) -> None:
        with self._rule("shutdown-returns"):
            self._serve(host, host.module)
            if found.standby is not None:
                self._serve(host, host.standby())
        with self._rule("standby-half") as kept:
            needed = bool(host.uri)
            kept(
                ok=found.standby is not None if needed else None,
                reason="set_uri is called and there is no MgrStandbyModule" if needed else "",
            )
        with self._rule("survives-failover"):
            module = host.fail_over()
            self._serve(host, module)
        with self._rule("threads-end") as kept:
            left = self._left()
            kept(ok=not left, reason=f"still there: {', '.join(left)}")
        with self._rule("callbacks-return") as kept:
            host.fail_over()
            slow = _slow_callbacks(host, found)
            kept(ok=not slow, reason="; ".join(slow))

    def _serve(self, host: Host, module: Any) -> None:
        with host.serving(module, limit_s=STOP_S):
            _wait(SERVING_S)

    def _left(self) -> list[str]:
        end_s = CLOCK.now() + LEFT_S
        while (left := self._running()) and CLOCK.now() < end_s:
            _wait(0.05)
        return left

    def _running(self) -> list[str]:
        # A module that was abandoned in an earlier rule has its serve thread running: the rule
        # that found that has said so.
        threads = [
            f"thread {each.name}"
            for each in set(threading.enumerate()) - self._threads
            if not each.name.endswith("-serve")
        ]
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        pids = children.read_text().split() if children.exists() else []
        return sorted(threads) + [f"process {pid}" for pid in pids]

    @contextmanager
    def _rule(self, name: str) -> Iterator[Callable[..., None]]:
        """Write that rule ``name`` is being tried; then how it ended. Exceptions break it."""
        self._write(rule=name, begun=True)
        kept: bool | None = True
        reason = ""

        def decide(*, ok: bool | None, reason: str = "") -> None:
            nonlocal kept
            kept = ok
            reasons.append(reason)

        reasons: list[str] = []
        try:
            yield decide
            reason = "" if kept is not False else " ".join(reasons)
        except BaseException as error:  # noqa: BLE001 - the module's code may raise anything
            kept, reason = False, f"{type(error).__name__}: {error}"
        self._write(rule=name, kept=kept, reason=" ".join(reason.split())[:REASON_MAX])

    def _write(self, **fields: object) -> None:
        self._results.write(json.dumps(fields) + "\n")
        self._results.flush()


def _undescribed(found: DiscoveredModule) -> list[str]:
    commands = [
        f"command {each.signature_text.split(' name=')[0].strip()!r}"
        for each in found.commands
        if not each.desc.strip()
    ]
    return commands + [
        f"option {each['name']!r}" for each in found.options if not str(each.get("desc") or "")
    ]


def _slow_callbacks(host: Host, found: DiscoveredModule) -> list[str]:
    calls: dict[str, Callable[[], object]] = {
        "config_notify()": host.module.config_notify,
        **{
            f"notify({kind!r})": partial(host.module.notify, kind, "")
            for kind in sorted(found.notify_types)
        },
    }
    slow = []
    for name, call in calls.items():
        begun_s = CLOCK.now()
        call()
        if (took_s := CLOCK.now() - begun_s) > CALLBACK_S:
            slow.append(f"{name} took {took_s:.1f} s")
    return slow


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def main() -> None:
    """Run the trial that the command line names; end without waiting for the module's threads."""
    logging.disable(logging.CRITICAL)
    folder, results = sys.argv[1:]
    with Path(results).open("a", encoding="utf-8") as file:
        Trial(Path(folder), file).run()
    os._exit(0)


if __name__ == "__main__":
    main()
